"""The command that adds an optional dependency of aios to this environment.

The trainer uses this module, too: it is the only place that prints such a command.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from shutil import which

from packaging.requirements import Requirement

from doctor.quoting import each_shell, quoted
from doctor.version import DISTRIBUTION


@dataclass(frozen=True)
class Environment:
    """What an install command depends on.

    Attributes:
        checkout: the clone that aios runs from; None if it runs from an installed copy.
        has_pip: whether `python` can run pip. An environment made by uv or conda may lack it.
        is_conda: whether conda manages the environment.
    """

    python: str
    prefix: str
    checkout: str | None = None
    has_pip: bool = True
    has_uv: bool = False
    is_conda: bool = False
    is_windows: bool = False


def how_to_add(extra: str) -> str:
    """Return the command that installs an extra ("plot", "train", …) for the Python that is running."""
    return add_command(extra, requirements_of(extra), this_environment())


def how_to_install(*requirements: str) -> str:
    """Return the command that installs these requirements for the Python that is running."""
    environment = this_environment()
    return _command(requirements, environment)


def add_command(extra: str, requirements: Sequence[str], environment: Environment) -> str:
    """Return the command line for a terminal of the environment's system: sh, or cmd and PowerShell alike.

    A clone is installed again with the extra, so that its metadata follows pyproject.toml. For a copy, the command
    names the extra's own `requirements`: the file that the copy was installed from may be gone, and no package index
    has to know aios.
    """
    clone = ["-e", f"{environment.checkout}[{extra}]"]
    wanted = clone if environment.checkout else requirements
    return _command(wanted, environment)


def _command(wanted: Sequence[str], environment: Environment) -> str:
    words = (_quoted(word, environment) for word in wanted)
    return "\n  ".join(each_shell(" ".join([_installer(environment), *words])))


def requirements_of(extra: str) -> list[str]:
    """Return the requirements that the installed aios states for an extra; none if it has no such metadata."""
    try:
        stated = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return []
    return [
        f"{each.name}{each.specifier}"
        for each in stated
        if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
    ]


def is_installed(extra: str) -> bool:
    """Return whether every distribution that an extra requires is installed for the Python that is running."""
    return all(_is_there(Requirement(each).name) for each in requirements_of(extra))


def _is_there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def this_environment() -> Environment:
    """Describe the environment of the Python that is running."""
    root = Path(__file__).parents[1]
    return Environment(
        python=sys.executable,
        prefix=sys.prefix,
        checkout=str(root) if (root / "pyproject.toml").is_file() else None,
        has_pip=importlib.util.find_spec("pip") is not None,
        has_uv=which("uv") is not None,
        is_conda=Path(sys.prefix, "conda-meta").is_dir(),
        is_windows=sys.platform == "win32",
    )


def _installer(environment: Environment) -> str:
    """Return the beginning of the command, up to `install`."""
    python = _quoted(environment.python, environment)
    if not environment.has_pip and environment.has_uv:
        return f"uv pip install --python {python}"
    if environment.has_pip and environment.is_windows and python.startswith('"'):
        # PowerShell does not run a quoted path; any pip can install for another Python
        return f"python -m pip --python {python} install"
    get_pip = ""
    if not environment.has_pip and environment.is_conda:
        get_pip = f"conda install --yes --prefix {_quoted(environment.prefix, environment)} pip\n  "
    elif not environment.has_pip:
        get_pip = f"{python} -m ensurepip\n  "
    return f"{get_pip}{python} -m pip install"


def _quoted(word: str, environment: Environment) -> str:
    return quoted(word, windows=environment.is_windows, bare=True)
