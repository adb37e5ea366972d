"""Another Python than the one that runs aios: found by its path, and started once to describe itself.

It is started with `-I -S -B`, so that neither its sitecustomize nor its .pth files run, and with a time limit. Everything
else about it is read from its files. Nothing is installed there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from doctor.bounded import read_beginning
from doctor.host.base import Completed, Frozen
from doctor.host.completed import exit_code, last_error_line
from doctor.host.programs import run_bounded
from doctor.host.pth_files import with_pth_files
from doctor.host.python_query import TAG
from doctor.host.readings import Absent, Found, Reading, Unreadable

QUERY = Path(__file__).with_name("python_query.py")
ISOLATED = ("-I", "-S", "-B")
TIMEOUT = 15.0  # seconds; the first start of a Python under a virus scanner takes several
OLDEST = (3, 8)
VERSION = re.compile(r"\d+\.\d+(\.\d+)?t?")  # what `--python` takes as a version where a command takes one

# Where applications keep their Python, below their own folder. The first that exists is used.
IN_APPLICATIONS = (
    "",
    ".venv",
    "venv",
    "env",
    "python_embeded",  # ComfyUI portable spells it so
    "python_embedded",
    "installer_files/env",  # text-generation-webui
    "system/python",  # the portable Forge and A1111
)
# What `--python` searches
PLACES = (*IN_APPLICATIONS, "ComfyUI_windows_portable/python_embeded", "python")
# Variables that make a Python start differently or run something
CHANGING = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "__PYVENV_LAUNCHER__")  # fmt: skip
# Variables that name the environment that is active in the terminal
ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV")

STORE_ALIAS = 9009  # exit code of the Microsoft Store's `python.exe` without a Python
NO_BASE = re.compile(r"No Python at '?\"?([^'\"\r\n]+)")
UNKNOWN_OPTION = "Unknown option: -I"  # Python 2
NO_LIBRARY = re.compile(
    r"No module named '?(?:encodings|site|codecs|io|abc)\b|failed to get the Python codec"
)
GIVE = "Give the interpreter (python.exe, bin/python), or the folder of the environment or the application."


class PythonError(Exception):
    """The Python that was named cannot be used; the message says why and what to do."""


class OtherPython(Frozen):
    """How another Python describes itself.

    Attributes:
        python: its version, "3.12.4".
        prefix: of the virtual environment, if it is in one.
        standard_path: sys.path without packages.
        package_folders: the folders of packages, without those that .pth files add.
    """

    python: str = Field(pattern=r"^\d+\.\d+\.\d+")
    implementation: str
    bits: int
    free_threaded: bool
    platform: str
    executable: str = Field(min_length=1)
    prefix: str = Field(min_length=1)
    base_prefix: str
    site_packages: str = Field(min_length=1)
    scripts: str
    standard_path: tuple[str, ...]
    package_folders: tuple[str, ...]
    glibc: tuple[int, int] | None

    @property
    def is_this_one(self) -> bool:
        """Whether it is the Python that runs aios."""
        same_version = self.python.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
        return same_version and os.path.realpath(self.prefix) == os.path.realpath(sys.prefix)

    @property
    def search_path(self) -> tuple[str, ...]:
        """Where it finds packages."""
        return (*self.standard_path, *with_pth_files(self.package_folders))


def find_python(path: Path, timeout: float = TIMEOUT) -> OtherPython:
    """Return the Python at a path: an interpreter, or a folder that contains one. Raises PythonError."""
    program = interpreter_at(path.absolute())
    command = [str(program), *ISOLATED, str(QUERY)]
    ran = run_bounded(command, timeout, without_python_variables(os.environ), None)
    if not isinstance(ran, Found):
        raise PythonError(_why_not_started(program, ran))
    answer = _answer(ran.value.stdout)
    if answer is None:
        raise PythonError(_why_no_answer(program, ran.value))
    try:
        found = OtherPython.model_validate_json(answer)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise PythonError(f"{program} answered, but its answer is damaged ({what}). {GIVE}") from error
    if tuple(map(int, found.python.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise PythonError(f"{program} is Python {found.python}; aios supports {oldest} and newer.")
    return found


def without_python_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a process of another Python: without those that change how it starts."""
    dropped = {*CHANGING, *ACTIVE}
    return {name: value for name, value in variables.items() if name.upper() not in dropped}


def interpreter_at(path: Path) -> Path:
    """Return the interpreter at a path, or in the folder at that path. Raises PythonError."""
    if path.is_dir():
        for program in candidates_in(path):
            if os.path.lexists(program):
                return program
        names = ", ".join(place for place in PLACES if place)
        raise PythonError(f"No Python was found in {path}, nor in its subfolders {names}. {GIVE}")
    if path.is_symlink() and not path.exists():
        return path  # the Python of the environment was removed
    if not path.exists():
        hint = f"{path.name} is a version; this option takes a path. " if VERSION.fullmatch(path.name) else ""
        raise PythonError(f"{path} does not exist. {hint}{GIVE}")
    return path


def candidates_in(folder: Path) -> tuple[Path, ...]:
    """Return where the interpreter of an environment or an application would be."""
    windows = ("Scripts/python.exe", "python.exe")
    programs = windows if os.name == "nt" else ("bin/python3", "bin/python")
    return tuple(folder / place / program for place in PLACES for program in programs)


def _answer(printed: str) -> str | None:
    """Return the tagged JSON object. Other lines may come from code that a ._pth file runs first."""
    lines = (line for line in printed.splitlines() if line.startswith(TAG))
    return next((line.removeprefix(TAG) for line in lines), None)


def _why_not_started(program: Path, ran: Reading[Completed]) -> str:
    if isinstance(ran, Absent):
        if program.is_symlink():
            base = os.path.realpath(program)
            return f"{program} is a link to {base}, which no longer exists. {_recreate(program)}"
        return f"{program} does not exist. {GIVE}"
    reason = ran.reason if isinstance(ran, Unreadable) else ""
    if "did not answer within" in reason:
        return (
            f"{program} does not answer: {reason}. Start it in a terminal to see why, or give another Python."
        )
    if "could not be started" in reason and (kind := _kind_of(program)):
        return f"{program} {kind}. {GIVE}"
    return f"{program} cannot be used: {reason}. {GIVE}"


def _kind_of(program: Path) -> str | None:
    """Return why the system does not start a file, as a clause; None: not known."""
    try:
        start = read_beginning(program, 2)
    except OSError:
        return None
    if start in (b"MZ", b"\x7fE"):
        if os.access(program, os.X_OK):
            return "is a program for another processor architecture or operating system"
        return "is a program that you are not allowed to run"
    return "is not a program"


def _why_no_answer(program: Path, completed: Completed) -> str:
    printed = completed.stdout + completed.stderr
    if found := NO_BASE.search(printed):
        return f"{program} belongs to an environment whose Python no longer exists: {found[1].strip()}. {_recreate(program)}"
    if completed.exit_code == STORE_ALIAS or "Microsoft Store" in printed:
        return f"{program} is an alias of the Microsoft Store, behind which no Python is installed. {GIVE}"
    if UNKNOWN_OPTION in printed:
        oldest = ".".join(map(str, OLDEST))
        return f"{program} is Python 2; aios supports {oldest} and newer."
    if NO_LIBRARY.search(printed):
        return (
            f"The standard library of {program} is missing or damaged: {last_error_line(completed)}. "
            "Repair or reinstall that Python."
        )
    if completed.exit_code:
        said = last_error_line(completed)
        ended = f"ended with exit code {exit_code(completed)}" + (f": {said}" if said else "")
        return f"{program} could not describe itself: it {ended}. {GIVE}"
    shown = completed.stdout.strip()[:60]
    what = f"printed {shown!r}" if shown else "printed nothing"
    return f"{program} is not a Python, or not an intact one: it {what} instead of an answer. {GIVE}"


def _recreate(program: Path) -> str:
    return f"Recreate the environment {program.parents[1]} with a Python that is installed."
