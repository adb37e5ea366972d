"""A Python environment with aios in it: made, filled with pinned packages, and left alone while nothing changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

REPOSITORY = Path(__file__).absolute().parent.parent  # not resolved: a mapped network drive keeps its letter
CONSTRAINTS = REPOSITORY / "constraints.txt"
PACKED = ("aios.py", "doctor", "trainer", "wheels")  # what pyproject.toml puts into the distribution
OLDEST_PYTHON = (3, 10)
NEW_PIP = "pip>=22.2"  # aios install tries out what it does; Ubuntu 22.04's own pip cannot
SECONDS_FOR_DRIVER = 10.0


class PreparationError(Exception):
    """The environment cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment. Inside the checkout it follows the source there (editable); elsewhere it holds a copy."""

    folder: Path = REPOSITORY / ".venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def command(self) -> Path:
        """The command `aios`."""
        return self.python.with_name("aios")

    def prepare(self, extra: str = "") -> None:
        """Have it, with aios from this checkout and what its `extra` needs. Raises PreparationError."""
        if sys.version_info < OLDEST_PYTHON:
            found = ".".join(map(str, sys.version_info[:3]))
            raise PreparationError(f"aios needs Python 3.10 or newer; this is {found} ({sys.executable})")
        self._have()
        stamp = self.folder / f"installed-{extra or 'aios'}"
        wanted = self._fingerprint()
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return
        self._remove_former_aios()
        aios = f"{REPOSITORY}[{extra}]" if extra else str(REPOSITORY)
        say(f"Installing {aios} into {self.folder} (once; some minutes on a slow line)")
        with TemporaryDirectory(prefix="aios-") as folder:
            constraints = Path(folder, "constraints.txt")
            constraints.write_text(self._constraints(), encoding="utf-8", newline="\n")
            wishes = ["--constraint", str(constraints), NEW_PIP, *["--editable"] * self._follows_source, aios]
            status = self.run("-m", "pip", "install", "-qq", "--disable-pip-version-check", *wishes)
        if status:
            raise PreparationError(
                "pip could not install the packages; its own words stand above.\n"
                "No connection to the package index, or a proxy that pip does not know of? Look at `pip config list`.\n"
                f"No wheel for this Python ({sys.version.split()[0]})? Python 3.11 is the version that aios is tested with.\n"
                "Then run this command again; what is already there is kept."
            )
        stamp.write_text(wanted, encoding="utf-8", newline="\n")

    def run(self, *command: str | Path) -> int:
        """Run its Python in the repository, on this process's streams. Gives its exit status."""
        sys.stdout.flush()
        return subprocess.call(self._line(*command), cwd=REPOSITORY)

    def start(self, *command: str | Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start its Python in the repository; what it says goes into `output`."""
        return subprocess.Popen(self._line(*command), cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)

    def aios(self, *arguments: str) -> int:
        """Run the `aios` that is installed in it. Gives its exit status."""
        return self.run("-I", "-m", "aios", *arguments)

    def _line(self, *command: str | Path) -> list[str]:
        return [str(self.python), *map(str, command)]

    @property
    def torch(self) -> str | None:
        """The version of the torch in it."""
        return self._asked("import importlib.metadata as m; print(m.version('torch'))")

    @property
    def _follows_source(self) -> bool:
        return self.folder.is_relative_to(REPOSITORY)

    @property
    def _birthplace(self) -> Path:
        """The file that tells an environment that was moved."""
        return self.folder / "made-in"

    def _have(self) -> None:
        if self._asked("print('starts')") is None or self._was_moved():
            self._make()
        elif self._asked("import pip; print('pip')") is None and self.run("-m", "ensurepip"):
            raise PreparationError(
                f"The environment in {self.folder} has no pip, and cannot be given one; Python's words stand above.\n"
                "Delete that folder, then run this command again."
            )

    def _remove_former_aios(self) -> None:
        """Uninstall aios under the distribution name "aios", which it had before it was called aios-doctor."""
        entry_points = self._asked(
            "import importlib.metadata as m; print(m.distribution('aios').read_text('entry_points.txt'))"
        )
        if entry_points and "aios:main" in entry_points:
            self.run("-m", "pip", "uninstall", "-qq", "--yes", "--disable-pip-version-check", "aios")

    def _was_moved(self) -> bool:
        made_in = self._birthplace
        return made_in.is_file() and Path(made_in.read_text(encoding="utf-8")) != self.folder

    def _make(self) -> None:
        there = self.folder.is_dir() and any(self.folder.iterdir())
        if there and not (self.folder / "pyvenv.cfg").is_file():
            raise PreparationError(
                f"{self.folder} holds something else than a Python environment, and stays as it is.\n"
                "Empty that folder, or name another one."
            )
        what = "The Python environment there does not start, or was moved: making it anew" if there else ""
        say(f"{what or 'Making a Python environment'} in {self.folder}")
        done = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", self.folder],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)  # half an environment would pass for a whole one
            advice = (
                "On Debian and Ubuntu its package python3-venv is missing: sudo apt-get install python3-venv"
            )
            if os.name == "nt":
                advice = "Close every program that runs from that folder, then run this command again."
            words = (done.stdout + done.stderr).strip()
            raise PreparationError(
                f"{sys.executable} could not make a virtual environment in {self.folder}:\n{words}\n{advice}"
            )
        self._birthplace.write_text(str(self.folder), encoding="utf-8", newline="\n")

    def _constraints(self) -> str:
        """The pins; but pip does not get to replace a torch that was chosen for this machine.

        One with a build label comes from PyTorch's own index; others in the checkout's environment follow the pins. A
        torch of another version has other needs than those pinned beside it.
        """
        pins = CONSTRAINTS.read_text(encoding="utf-8")
        torch = self.torch
        if torch is None or ("+" not in torch and self._follows_source):
            return pins
        others = [line for line in pins.splitlines() if not line.startswith("torch==")]
        tested = f"torch=={torch.partition('+')[0]}" in pins.splitlines()
        return "\n".join([*others * tested, f"torch=={torch}", ""])

    def _fingerprint(self) -> str:
        """What an installation depends on: the interpreter, the files that name the packages, a copy's source."""
        files = [REPOSITORY / "pyproject.toml", CONSTRAINTS]
        if not self._follows_source:
            roots = [REPOSITORY / name for name in PACKED]
            files += sorted(file for root in roots for file in (root, *root.rglob("*")) if _is_source(file))
        content = [bytes for file in files for bytes in (str(file).encode(), file.read_bytes())]
        return hashlib.sha256(b"\0".join([sys.version.encode(), *content])).hexdigest()

    def _asked(self, question: str) -> str | None:
        """What its Python prints; None where it fails or does not start."""
        try:
            done = subprocess.run(
                [self.python, "-I", "-c", question], capture_output=True, text=True, errors="replace"
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def say(text: str) -> None:
    """A line for the person at the terminal, whatever its encoding."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def headline(text: str) -> None:
    """The beginning of a step."""
    say(f"\n=== {text}\n")


def has_gpu() -> bool:
    """Does the NVIDIA driver see a GPU?"""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        return (
            subprocess.run([program, "-L"], capture_output=True, timeout=SECONDS_FOR_DRIVER).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _is_source(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts
