"""Install and remove packages of this Python with its pip, or with uv if it has no pip."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence

from packaging.utils import canonicalize_name

from doctor.host.base import Completed
from doctor.host.completed import last_error_line
from doctor.host.readings import Absent, Found, Reading

TIMEOUT = 600.0  # seconds
PROTECTED = {"torch"}  # the package index may replace it with another build

Run = Callable[[Sequence[str], float, Mapping[str, str]], Reading[Completed]]


def set_packages(
    run: Run, wanted: Mapping[str, str | None], python: str | None = None, has_pip: bool | None = None
) -> None:
    """Install (name -> version specifier) or remove (name -> None) exactly these packages. Raises OSError.

    The output of pip goes to stderr.

    Args:
        run: `Reader.run`.
        wanted: the packages.
        python: the interpreter whose packages they are; None: this one.
        has_pip: whether `python` has pip.
    """
    if refused := PROTECTED.intersection(map(canonicalize_name, wanted)):
        raise OSError(f"{', '.join(refused)}: the doctor does not replace it")
    installed = [name + specifier for name, specifier in wanted.items() if specifier is not None]
    removed = [name for name, specifier in wanted.items() if specifier is None]
    if python is None:
        python, has_pip = sys.executable, importlib.util.find_spec("pip") is not None
    for command, names in (("install", installed), ("uninstall", removed)):
        if names:
            _call(run, f"{command} {' '.join(names)}", _command_line(command, names, python, bool(has_pip)))
    importlib.invalidate_caches()


def _call(run: Run, what: str, line: Sequence[str]) -> None:
    environment = {"PYTHONSAFEPATH": "1"}  # ignore a pip.py in the current folder
    ran = run(line, TIMEOUT, environment)
    if isinstance(ran, Absent):
        raise OSError("this Python has no pip, and uv is not installed; `python -m ensurepip` installs pip")
    if not isinstance(ran, Found):
        raise OSError(ran.reason)
    if sys.stderr:
        sys.stderr.write(ran.value.stdout + ran.value.stderr)
    if ran.value.exit_code != 0:
        message = last_error_line(ran.value) or f"exit status {ran.value.exit_code}"
        raise OSError(f"{what}: {message}")


def _command_line(command: str, names: Sequence[str], python: str, has_pip: bool) -> list[str]:
    alone = ["--no-deps"] if command == "install" else []
    if not has_pip:
        return ["uv", "pip", command, "--python", python, *alone, *names]
    yes = ["--yes"] if command == "uninstall" else []
    quiet = ["--no-input", "--disable-pip-version-check"]
    return [python, "-m", "pip", command, *quiet, *yes, *alone, *names]
