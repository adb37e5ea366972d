"""The box: a folder with a Wine prefix and Windows programs in it. Runs these programs."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
USER = "Zoë Wiśniewska"  # a space, a letter in code page 1252, and one that is not in it
# Wine takes the ANSI code page from the locale
LOCALES = {1250: "pl_PL.UTF-8", 1251: "ru_RU.UTF-8", 1252: "C.UTF-8"}
TIMED_OUT = 1460  # ERROR_TIMEOUT: the exit code of a program that was killed at its time limit
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/lib/wine"  # Debian's wine64 is not on PATH


class WineError(Exception):
    """Wine or the box is missing or broken. The message says what to do."""


def box_folder() -> Path:
    """Return the folder in AIOS_WINE_BOX, else `.wine` in the repository."""
    return Path(os.environ.get("AIOS_WINE_BOX") or REPOSITORY / ".wine").resolve()


def program(name: str) -> str:
    """Return the absolute path of a Linux program. Raises WineError."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise WineError(f"{name} is not installed; run: python scripts/windows_under_wine.py setup")
    return found


@dataclass(frozen=True)
class Box:
    """A box and its programs, which do not see the environment variables of Linux."""

    folder: Path

    @property
    def drive_c(self) -> Path:
        return self.folder / "prefix" / "drive_c"

    @property
    def python(self) -> Path:
        return self.drive_c / "Python311"

    @property
    def ready(self) -> bool:
        """Whether `setup` has completed."""
        return (self.folder / "ready").is_file()

    def windows_path(self, path: Path) -> str:
        """Return the Windows name of a Linux path."""
        path = path.resolve()
        if path.is_relative_to(self.drive_c):
            return str(Path("C:/", path.relative_to(self.drive_c))).replace("/", "\\")
        return f"Z:{path}".replace("/", "\\")

    def run(
        self,
        command: Sequence[str],
        *,
        ordinary_user: bool = False,
        environment: Mapping[str, str] | None = None,
        path_in_front: Sequence[Path] = (),
        code_page: int = 1252,
        console: bool = False,
        folder: Path | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a Windows program and return its output and its full 32-bit exit code.

        Args:
            command: the program (found on the PATH of Windows) and its arguments.
            ordinary_user: run without the Administrators group.
            environment: variables to set in addition to those of Windows.
            path_in_front: Linux folders to put at the start of the PATH of Windows.
            code_page: the ANSI code page of Windows, one of LOCALES.
            console: use a console for the standard streams; all output is returned as `stdout`.
            folder: the working directory; default: the current one.
            timeout: seconds until the process tree is killed, with exit code TIMED_OUT.
        """
        variables = self._variables(code_page)
        variables["WINEPATH"] = ";".join(map(self.windows_path, path_in_front))
        self.start_server()
        with tempfile.TemporaryDirectory() as temporary:
            code_file = Path(temporary, "code")
            options = ["-t", str(timeout), "-c", self.windows_path(code_file), *["-n"][:ordinary_user]]
            arguments = [program("wine64"), "C:\\box\\winrun.exe", *options, *command]
            start = _on_console if console else _on_pipes
            output, errors = start(arguments, {**variables, **(environment or {})}, folder, timeout + 30)
            try:
                code = int(code_file.read_text())
            except (FileNotFoundError, ValueError):
                raise WineError(f"{command[0]} did not start: {errors.decode(errors='replace')}") from None
        return subprocess.CompletedProcess(command, code, output, errors)

    def start_server(self, **variables: str) -> None:
        """Start Wine's server and services with closed streams. If a program started them, they would keep its pipes open."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._server("-k0"):
                self._server("-p120")
                _closed([program("wine64"), "wineboot"], {**self._variables(), **variables}, self.folder)

    def import_registry(self, file: Path) -> None:
        """Import a .reg file. Raises WineError."""
        command = [program("wine64"), "regedit", "/S", self.windows_path(file)]
        if _closed(command, self._variables(), self.folder):
            raise WineError(f"Wine cannot read {file}")

    def stop(self) -> None:
        """Kill all programs in the box, and Wine's server."""
        self._server("-k")
        self._server("-w")

    def _server(self, option: str) -> bool:
        return _closed([program("wineserver"), option], self._variables(), self.folder) == 0

    def _variables(self, code_page: int = 1252) -> dict[str, str]:
        variables = {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "USER": USER,
            "LOGNAME": USER,
            "LC_ALL": LOCALES[code_page],
            "WINEPREFIX": str(self.drive_c.parent),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
        }
        if code_page != 1252:
            variables["LOCPATH"] = str(self.folder / "locales")
        return variables


def _closed(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> int:
    nothing = subprocess.DEVNULL
    return subprocess.call(
        command, env=environment, cwd=folder, stdin=nothing, stdout=nothing, stderr=nothing
    )


def _on_pipes(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None, timeout: float
) -> tuple[bytes, bytes]:
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
    )
    return done.stdout, done.stderr


def _on_console(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None, timeout: float
) -> tuple[bytes, bytes]:
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        command,
        env={**environment, "TERM": "xterm-256color"},
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    output = bytearray()
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:  # raised when the last program of a pseudo-terminal has ended
        pass
    os.close(ours)
    started.wait(timeout)
    return bytes(output), b""
