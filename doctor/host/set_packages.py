"""Installing and removing packages of this Python, by its pip, or by uv where it has none."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence

from packaging.utils import canonicalize_name

from doctor.host.base import Completed
from doctor.host.completed import last_words
from doctor.host.readings import Absent, Found, Reading

TIMEOUT = 600.0  # seconds
NEVER_TOUCHED = {"torch"}  # what the index gives in its place may be another build

Run = Callable[[Sequence[str], float, Mapping[str, str]], Reading[Completed]]


def set_packages(run: Run, wanted: Mapping[str, str | None]) -> None:
    """Install (name → version specifier) and remove (None) these packages and no other. Raises OSError.

    `run` is `Host.run`. What the installer prints goes to stderr.
    """
    if refused := NEVER_TOUCHED.intersection(map(canonicalize_name, wanted)):
        raise OSError(f"{', '.join(refused)}: the doctor does not replace it")
    installed = [name + specifier for name, specifier in wanted.items() if specifier is not None]
    removed = [name for name, specifier in wanted.items() if specifier is None]
    if installed:
        _call(run, "install", "--no-deps", *installed)
    if removed:
        _call(run, "uninstall", *removed)
    importlib.invalidate_caches()


def _call(run: Run, command: str, *arguments: str) -> None:
    environment = {"PYTHONSAFEPATH": "1"}  # a pip.py in the current folder is no pip
    ran = run(_command_line(command, arguments), TIMEOUT, environment)
    if isinstance(ran, Absent):
        raise OSError("this Python has no pip, and there is no uv either; `python -m ensurepip` installs pip")
    if not isinstance(ran, Found):
        raise OSError(ran.reason)
    if sys.stderr:
        sys.stderr.write(ran.value.stdout + ran.value.stderr)
    if ran.value.exit_code != 0:
        said = last_words(ran.value) or f"exit status {ran.value.exit_code}"
        raise OSError(f"{command} {' '.join(arguments)}: {said}")


def _command_line(command: str, arguments: Sequence[str]) -> list[str]:
    if importlib.util.find_spec("pip") is None:
        return ["uv", "pip", command, "--python", sys.executable, *arguments]
    yes = ["--yes"] if command == "uninstall" else []
    quiet = ["--no-input", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", command, *quiet, *yes, *arguments]
