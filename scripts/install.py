"""Set up aios on this machine: an environment of its own, the doctor and its fixes, and the packages that fit the GPU.

Start it with `scripts\\install.cmd` (Windows) or `scripts/install.sh` (Linux, WSL), which find a Python for it.
A second run keeps finished steps.
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
from uninstall import uninstall

# Exit statuses with which the doctor has finished and reported what it found and could not fix
FINISHED = {0, 1, 3, 4, 5}
WINDOWS_FILE_SYSTEMS = {"9p", "drvfs"}


def main() -> int:
    """Run the steps in order. Return the exit status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, help="absolute path of the environment"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--uninstall", action="store_true", help="delete the environment, the records and the caches of aios"
    )
    arguments = parser.parse_args()
    if arguments.folder and not arguments.folder.is_absolute():
        parser.error(f"FOLDER must be an absolute path, got {arguments.folder}")
    try:
        environment = Environment(arguments.folder or default_folder())
        if os.name == "posix" and is_windows_drive_in_wsl(
            environment.folder, os.uname().release, Path("/proc/mounts").read_text(encoding="utf-8")
        ):
            raise PreparationError(
                f"{environment.folder} is on a Windows drive, which is many times slower from Linux and does not support\n"
                "the links of an environment. Choose a folder in the Linux file system, or leave FOLDER out."
            )
        if arguments.uninstall:
            return uninstall(environment, arguments.yes)
        return install(environment, ["--yes"] * arguments.yes)
    except PreparationError as trouble:
        say(f"\n{trouble}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. Run this again to continue; finished steps are kept.")
        return 130


def install(environment: Environment, yes: list[str]) -> int:
    """Run the steps. `yes`: ["--yes"] to ask for no confirmation. Raises PreparationError."""
    headline(f"aios from {REPOSITORY} in {environment.folder}")
    environment.prepare()
    headline("Diagnosing and fixing this machine (aios doctor --fix)")
    say("Findings about torch and the attention packages are for the next step, aios install.\n")
    status = environment.aios("doctor", "--fix", *yes)
    if status not in FINISHED:
        say(f"The doctor ended with exit status {status}. Run this again; if it fails again, report it.")
        return status
    headline("Installing the packages that fit this machine (aios install)")
    status = environment.aios("install", *yes)
    if status:
        say("The doctor is installed. The packages for training are not; the reason is above.")
        say("Resolve it, then run this again; finished steps are kept.")
        _say_how_to_start(environment, "doctor", "install")
        return status
    environment.prepare("train")
    headline("Diagnosing this machine again (aios doctor)")
    status = environment.aios("doctor")
    if status not in FINISHED:
        return status
    _say_how_to_start(environment, "doctor", "train --config configs/quickstart.yaml")
    say("\nTo train the same small model on a text of your own, or on a folder of texts:")
    say(
        f"  {_quoted(environment.command)} train --config configs/quickstart.yaml --dataset-file YOUR_TEXT --output-dir artifacts/own"
    )
    say(
        "Larger models and LoRA: docs/training.md. To uninstall: scripts/install.sh --uninstall, on Windows install.cmd."
    )
    return 0


def default_folder() -> Path:
    """Return a short path of plain letters; on Windows, one in the user's folder if the drive is not writable.

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
        "Name a writable folder, best a short path of plain letters: scripts\\install.cmd D:\\aios\\.venv"
    )


def is_windows_drive_in_wsl(folder: Path, kernel: str, mounts: str) -> bool:
    """Return whether a folder is on a Windows drive. `kernel`: the kernel's release; `mounts`: /proc/mounts."""
    if "microsoft" not in kernel.lower():
        return False
    types = {Path(line.split()[1]): line.split()[2] for line in mounts.splitlines()}
    nearest = next(parent for parent in (folder, *folder.parents) if parent in types)
    return types[nearest] in WINDOWS_FILE_SYSTEMS


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder):
            return True
    except OSError:
        return False


def _say_how_to_start(environment: Environment, *commands: str) -> None:
    """Print the commands for a new terminal; no environment has to be activated."""
    headline(f"How to start, in a new {'Command Prompt' if os.name == 'nt' else 'terminal'}")
    say(f"  {'cd /d' if os.name == 'nt' else 'cd'} {_quoted(REPOSITORY)}")
    for command in commands:
        say(f"  {_quoted(environment.command)} {command}")


def _quoted(path: Path) -> str:
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(str(path))


if __name__ == "__main__":
    sys.exit(main())
