"""Create a Python environment with aios and the pinned packages; do nothing if it is up to date."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from pip_progress import run_pip

# Not resolved, so that a mapped network drive keeps its letter
REPOSITORY = Path(__file__).absolute().parent.parent
CONSTRAINTS = REPOSITORY / "constraints.txt"
PACKED = ("aios.py", "doctor", "gui", "trainer", "wheels")  # what pyproject.toml puts into the distribution
OLDEST_PYTHON = (3, 10)
NEW_PIP = "pip>=22.2"  # aios install needs `pip install --dry-run`, which Ubuntu 22.04's pip lacks
SECONDS_FOR_DRIVER = 10.0


class PreparationError(Exception):
    """The environment cannot be created or filled; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment. Inside the checkout, aios is installed editable; elsewhere, as a copy."""

    folder: Path = REPOSITORY / ".venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def command(self) -> Path:
        """The path of the command `aios`, without .exe."""
        return self.python.with_name("aios")

    def prepare(self, extra: str = "") -> None:
        """Create the environment if needed, and install aios with its `extra`. Raises PreparationError."""
        if sys.version_info < OLDEST_PYTHON:
            found = ".".join(map(str, sys.version_info[:3]))
            raise PreparationError(f"aios needs Python 3.10 or newer; this is {found} ({sys.executable})")
        self._create_if_needed()
        stamp = self.folder / f"installed-{extra or 'aios'}"
        wanted = self._fingerprint()
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return
        self._remove_former_aios()
        aios = f"{REPOSITORY}[{extra}]" if extra else str(REPOSITORY)
        say(f"Installing {aios} into {self.folder} (once; takes minutes on a slow connection)")
        with TemporaryDirectory(prefix="aios-") as folder:
            constraints = Path(folder, "constraints.txt")
            constraints.write_text(self._constraints(), encoding="utf-8", newline="\n")
            options = [
                "--constraint",
                str(constraints),
                NEW_PIP,
                *["--editable"] * self._follows_source,
                aios,
            ]
            status = run_pip(self.python, options, REPOSITORY)
        if status:
            raise PreparationError(
                "pip could not install the packages; its output is above.\n"
                "If the package index cannot be reached, or a proxy is not configured, see `pip config list`.\n"
                f"If there is no wheel for this Python ({sys.version.split()[0]}), use Python 3.11, which aios is tested with.\n"
                "Then run this command again. It keeps what is already installed."
            )
        stamp.write_text(wanted, encoding="utf-8", newline="\n")

    def run(self, *command: str | Path) -> int:
        """Run the environment's Python in the repository, on the streams of this process. Return its exit status."""
        sys.stdout.flush()
        return subprocess.call(self._line(*command), cwd=REPOSITORY)

    def start(self, *command: str | Path, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start the environment's Python in the repository, with its output redirected to `output`, a file or PIPE."""
        return subprocess.Popen(self._line(*command), cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)

    def aios(self, *arguments: str) -> int:
        """Run the `aios` that is installed in the environment. Return its exit status."""
        return self.run("-I", "-m", "aios", *arguments)

    def _line(self, *command: str | Path) -> list[str]:
        return [str(self.python), *map(str, command)]

    @property
    def torch(self) -> str | None:
        """The version of torch in the environment; None if it is not installed."""
        return self.output_of("import importlib.metadata as m; print(m.version('torch'))")

    @property
    def _follows_source(self) -> bool:
        return self.folder.is_relative_to(REPOSITORY)

    @property
    def _location_file(self) -> Path:
        """The file that holds the folder that the environment was created in: a moved environment does not work."""
        return self.folder / "made-in"

    def _create_if_needed(self) -> None:
        if self.output_of("print('starts')") is None or self._was_moved():
            self._create()
        elif self.output_of("import pip; print('pip')") is None and self.run("-m", "ensurepip"):
            raise PreparationError(
                f"The environment in {self.folder} has no pip, and ensurepip failed; its output is above.\n"
                "Delete that folder, then run this command again."
            )

    def _remove_former_aios(self) -> None:
        """Uninstall aios under the distribution name "aios", which it had before it was called aios-doctor."""
        entry_points = self.output_of(
            "import importlib.metadata as m; print(m.distribution('aios').read_text('entry_points.txt'))"
        )
        if entry_points and "aios:main" in entry_points:
            self.run("-m", "pip", "uninstall", "-qq", "--yes", "--disable-pip-version-check", "aios")

    def _was_moved(self) -> bool:
        made_in = self._location_file
        return made_in.is_file() and Path(made_in.read_text(encoding="utf-8")) != self.folder

    def _create(self) -> None:
        there = self.folder.is_dir() and any(self.folder.iterdir())
        if there and not (self.folder / "pyvenv.cfg").is_file():
            raise PreparationError(
                f"{self.folder} is not empty and not a Python environment.\nEmpty that folder, or choose another one."
            )
        if there:
            say(f"The Python environment in {self.folder} does not start or was moved. Recreating it")
        else:
            say(f"Creating a Python environment in {self.folder}")
        done = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", self.folder],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            shutil.rmtree(
                self.folder, ignore_errors=True
            )  # a partial environment would be taken for a complete one
            advice = (
                "On Debian and Ubuntu, install the package python3-venv:\n  sudo apt-get install python3-venv"
            )
            if os.name == "nt":
                advice = "Close all programs that run from that folder, then run this command again."
            output = (done.stdout + done.stderr).strip()
            raise PreparationError(
                f"{sys.executable} could not create a virtual environment in {self.folder}:\n{output}\n{advice}"
            )
        self._location_file.write_text(str(self.folder), encoding="utf-8", newline="\n")

    def _constraints(self) -> str:
        """Return the pins, adapted so that pip does not replace a torch that was selected for this machine.

        A torch with a build label comes from PyTorch's own index; others in the checkout's environment follow the pins.
        A torch of another version needs other versions than those pinned for the tested one.
        """
        pins = CONSTRAINTS.read_text(encoding="utf-8")
        torch = self.torch
        if torch is None or ("+" not in torch and self._follows_source):
            return pins
        others = [line for line in pins.splitlines() if not line.startswith("torch==")]
        tested = f"torch=={torch.partition('+')[0]}" in pins.splitlines()
        return "\n".join([*others * tested, f"torch=={torch}", ""])

    def _fingerprint(self) -> str:
        """Return a hash of what an installation depends on: interpreter, package lists and, for a copy, the source."""
        files = [REPOSITORY / "pyproject.toml", CONSTRAINTS]
        if not self._follows_source:
            roots = [REPOSITORY / name for name in PACKED]
            files += sorted(file for root in roots for file in (root, *root.rglob("*")) if _is_source(file))
        content = [bytes for file in files for bytes in (str(file).encode(), file.read_bytes())]
        return hashlib.sha256(b"\0".join([sys.version.encode(), *content])).hexdigest()

    def output_of(self, program: str) -> str | None:
        """Return what this Python prints for a program; None if it fails or does not start."""
        try:
            done = subprocess.run(
                [self.python, "-I", "-c", program], capture_output=True, text=True, errors="replace"
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def say(text: str) -> None:
    """Print lines, wrapped between words on a terminal; letters that its encoding lacks are escaped.

    An indented line, such as a command to copy, stays whole.
    """
    encoding = sys.stdout.encoding or "ascii"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        text = "\n".join(line if line.startswith(" ") else _wrapped(line, width) for line in text.split("\n"))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(line, max(20, width), break_long_words=False, break_on_hyphens=False)


def headline(text: str) -> None:
    """Print the heading of a step."""
    say(f"\n=== {text}\n")


def has_gpu() -> bool:
    """Return whether the NVIDIA driver sees a GPU."""
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
