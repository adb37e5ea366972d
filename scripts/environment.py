"""The project's own Python environment in `.venv`: made, filled with pinned packages, and left alone while nothing changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / ".venv"
CONSTRAINTS = REPOSITORY / "constraints.txt"
OLDEST_PYTHON = (3, 10)


class PreparationError(Exception):
    """The environment cannot be had; the message says why and what to do."""


def python() -> Path:
    """The environment's interpreter."""
    return FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepare(extra: str) -> None:
    """Have `.venv` with aios, installed from here as editable, and what its `extra` needs. Raises PreparationError."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise PreparationError(f"aios needs Python 3.10 or newer; this is {found} ({sys.executable})")
    if not python().is_file():
        _make()
    stamp = FOLDER / f"installed-{extra}"
    wanted = _fingerprint()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say(f"Installing aios[{extra}] into {FOLDER} (once; some minutes on a slow line)")
    install = [str(python()), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    wishes = ["--constraint", str(CONSTRAINTS), "--editable", f"{REPOSITORY}[{extra}]"]
    if subprocess.call([*install, *wishes], cwd=REPOSITORY):
        raise PreparationError(
            "pip could not install the packages; its own words stand above.\n"
            "No connection to the package index, or a proxy that pip does not know of? Look at `pip config list`.\n"
            f"No wheel for this Python ({sys.version.split()[0]})? Python 3.11 is the version that aios is tested with.\n"
            "Then run this command again; what is already there is kept."
        )
    stamp.write_text(wanted, encoding="utf-8")


def run(*command: str | Path) -> int:
    """Run the environment's Python in the repository, on this process's streams. Gives its exit status."""
    sys.stdout.flush()
    return subprocess.call([str(python()), *map(str, command)], cwd=REPOSITORY)


def say(text: str) -> None:
    """A line for the person at the terminal, whatever its encoding."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def _make() -> None:
    say(f"Making a Python environment in {FOLDER}")
    done = subprocess.run(
        [sys.executable, "-m", "venv", FOLDER], capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        shutil.rmtree(FOLDER, ignore_errors=True)  # half an environment would pass for a whole one
        raise PreparationError(
            f"{sys.executable} could not make a virtual environment:\n{(done.stdout + done.stderr).strip()}\n"
            "On Debian and Ubuntu its package python3-venv is missing: sudo apt-get install python3-venv"
        )


def _fingerprint() -> str:
    """What an installation depends on: the interpreter and the two files that name the packages."""
    files = [(REPOSITORY / "pyproject.toml").read_bytes(), CONSTRAINTS.read_bytes()]
    return hashlib.sha256(b"".join([sys.version.encode(), str(REPOSITORY).encode(), *files])).hexdigest()
