"""Sets aios up on this machine: an environment of its own, the doctor and its fixes, and the packages that fit the GPU.

For people: `scripts\\install.cmd` (Windows) and `scripts/install.sh` (Linux, WSL) find a Python and run this with it.
A second run keeps what is there.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from environment import REPOSITORY, Environment, PreparationError, headline, say

GOES_ON = {
    0,
    1,
    3,
    4,
    5,
}  # the doctor's exit statuses: it has looked, and said what it found and could not fix
WINDOWS_FILE_SYSTEMS = {"9p", "drvfs"}


def main() -> int:
    """Run the steps in order; the first that fails ends it with its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, help="where the environment is made, in full"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    arguments = parser.parse_args()
    if arguments.folder and not arguments.folder.is_absolute():
        parser.error(f"FOLDER is to be a full path, and {arguments.folder} is none")
    try:
        environment = Environment(arguments.folder or default_folder())
        if os.name == "posix" and is_windows_drive_in_wsl(
            environment.folder, os.uname().release, Path("/proc/mounts").read_text(encoding="utf-8")
        ):
            raise PreparationError(
                f"{environment.folder} is a folder of Windows: from Linux it is many times slower, and cannot hold\n"
                "an environment's links. Name a folder inside of Linux, or none for the usual one."
            )
        return install(environment, ["--yes"] * arguments.yes)
    except PreparationError as trouble:
        say(f"\n{trouble}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. Run this again to go on; what is already there is kept.")
        return 130


def install(environment: Environment, yes: list[str]) -> int:
    """The steps. `yes`: `--yes` where nobody is to be asked. Raises PreparationError."""
    headline(f"aios from {REPOSITORY} in {environment.folder}")
    environment.prepare()
    headline("What is wrong on this machine, and what can be put right? (aios doctor --fix)")
    status = environment.aios("doctor", "--fix", *yes)
    if status not in GOES_ON:
        say(f"The doctor ended with exit status {status}. Run this again; if that does not help, report it.")
        return status
    headline("The packages that fit this machine (aios install)")
    status = environment.aios("install", *yes)
    if status:
        say("The doctor is installed; what training needs is not: the reason stands above.")
        say("Run this again when that has changed; what is already there is kept.")
        _say_how_to_start(environment, "doctor")
        return status
    environment.prepare("train")
    headline("What can this machine do now? (aios doctor)")
    status = environment.aios("doctor")
    if status not in GOES_ON:
        return status
    _say_how_to_start(environment, "doctor", "train --config configs/quickstart.yaml")
    return 0


def default_folder() -> Path:
    """A short path of plain letters; where Windows lets nobody write there, one of the user's own.

    Raises PreparationError.
    """
    if os.name == "posix":
        return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "aios", "venv")
    short = Path(os.environ.get("SYSTEMDRIVE", "C:") + "\\", "aios", ".venv")
    own = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "aios", ".venv")
    for folder in (short, own):
        if (folder / "pyvenv.cfg").is_file() or _can_write(folder.parent):
            return folder
        say(f"{folder.parent} cannot be written to.")
    raise PreparationError(
        "Name a folder that can: scripts\\install.cmd D:\\aios\\.venv - a short path of plain letters is best."
    )


def is_windows_drive_in_wsl(folder: Path, kernel: str, mounts: str) -> bool:
    """Does it lie on a drive of Windows? `kernel`: the release's name; `mounts`: /proc/mounts."""
    if "microsoft" not in kernel.lower():
        return False
    types = {Path(line.split()[1]): line.split()[2] for line in mounts.splitlines()}
    nearest = next(place for place in (folder, *folder.parents) if place in types)
    return types[nearest] in WINDOWS_FILE_SYSTEMS


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder):
            return True
    except OSError:
        return False


def _say_how_to_start(environment: Environment, *commands: str) -> None:
    """What to type in a new terminal. Nothing has to be activated."""
    headline(f"How to start, in a new {'Command Prompt' if os.name == 'nt' else 'terminal'}")
    say(f"  {'cd /d' if os.name == 'nt' else 'cd'} {_quoted(REPOSITORY)}")
    for command in commands:
        say(f"  {_quoted(environment.command)} {command}")


def _quoted(path: Path) -> str:
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(str(path))


if __name__ == "__main__":
    sys.exit(main())
