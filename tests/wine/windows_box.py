"""A Windows to run programs in: this machine if it is one, otherwise the box under Wine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts"), str(REPOSITORY / "tests" / "install")]

LONG_PATHS = (r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem", "LongPathsEnabled")
REG_SZ, REG_EXPAND_SZ, REG_DWORD = 1, 2, 4
LONGER_THAN_ANY = 1500.0  # seconds; so that a busy machine fails no test
Completed = subprocess.CompletedProcess[bytes]
Aios = Callable[..., Completed]  # runs `aios`: its arguments, and the options of `Windows.run`
Snapshot = dict[str, dict[str, list[object]] | None]


class Windows(Protocol):
    """Runs Windows programs. `python` is the Python that has aios and torch."""

    is_wine: bool

    def run(
        self,
        command: Sequence[str],
        *,
        admin: bool = True,
        code_page: int = 1252,
        console: bool = False,
        environment: Mapping[str, str] | None = None,
        programs: Path | None = None,
        timeout: float = LONGER_THAN_ANY,
    ) -> Completed:
        """Run a program to its end; `programs` is a folder to prepend to PATH."""
        ...

    def path(self, path: Path) -> str:
        """The Windows form of a path on this machine."""
        ...

    def user_folder(self) -> Path:
        """The user's home folder."""
        ...


class Wine:
    """The box. The name of its user has a space and letters outside the ANSI code page."""

    is_wine = True

    def __init__(self) -> None:
        from wine.box import USER, Box, box_folder

        self.box = Box(box_folder())
        self.user = USER
        if not self.box.ready:
            pytest.skip("no Wine box here: run `python scripts/windows_under_wine.py setup`")

    def run(
        self,
        command: Sequence[str],
        *,
        admin: bool = True,
        code_page: int = 1252,
        console: bool = False,
        environment: Mapping[str, str] | None = None,
        programs: Path | None = None,
        timeout: float = LONGER_THAN_ANY,
    ) -> Completed:
        from wine.box import LOCALES

        if command[0] == "python":  # by its path, because a test may break PATH
            command = [self.path(self.box.python / "python.exe"), *command[1:]]
        variables = {"PYTHONPATH": self.path(REPOSITORY), **(environment or {})}
        if code_page not in LOCALES:  # a code page of consoles, which a pipe uses only if set
            variables["PYTHONIOENCODING"] = f"cp{code_page}"
            code_page = 1252
        return self.box.run(
            command,
            ordinary_user=not admin,
            code_page=code_page,
            console=console,
            environment=variables,
            path_in_front=[programs] if programs else [],
            folder=self.user_folder(),
            timeout=timeout,
        )

    def path(self, path: Path) -> str:
        return self.box.windows_path(path)

    def user_folder(self) -> Path:
        return self.box.drive_c / "users" / self.user


class NativeWindows:
    """This machine, with the Python that runs the tests."""

    is_wine = False

    def run(
        self,
        command: Sequence[str],
        *,
        admin: bool = True,
        code_page: int = 1252,
        console: bool = False,
        environment: Mapping[str, str] | None = None,
        programs: Path | None = None,
        timeout: float = LONGER_THAN_ANY,
    ) -> Completed:
        import ctypes

        if admin != bool(ctypes.windll.shell32.IsUserAnAdmin()):  # type: ignore[attr-defined]
            pytest.skip(f"the tests run as {'an ordinary user' if admin else 'administrator'} here")
        if console:
            pytest.skip("there is no console to read here")
        variables = {**os.environ, "PYTHONIOENCODING": f"cp{code_page}", **(environment or {})}
        if programs:
            variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
        program = sys.executable if command[0] == "python" else command[0]
        return subprocess.run(
            [program, *command[1:]],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )

    def path(self, path: Path) -> str:
        return str(path)

    def user_folder(self) -> Path:
        return Path.home()


@dataclass(frozen=True)
class Registry:
    """The live registry, read and changed through the Windows Python."""

    windows: Windows

    def change(self, *changes: tuple[str, str, str | None, object]) -> Snapshot:
        """Set (key, name, type, data), or remove the value if the type is None. Return the values of the keys afterwards."""
        tool = self.windows.path(HERE / "registry_tool.py")
        done = self.windows.run(["python", tool, json.dumps(changes)])
        assert done.returncode == 0, done.stderr.decode()
        snapshot: Snapshot = json.loads(done.stdout)
        return snapshot

    def snapshot(self) -> Snapshot:
        """The values of the keys that aios may change: {key: {name: [type, data]}}."""
        return self.change()

    def value(self, key: str, name: str) -> list[object] | None:
        """[type, data], or None if there is no such value."""
        return (self.snapshot()[key] or {}).get(name)

    def restore(self, before: Snapshot) -> None:
        """Restore the values of a snapshot."""
        kinds = {1: "REG_SZ", 2: "REG_EXPAND_SZ", 3: "REG_BINARY", 4: "REG_DWORD", 7: "REG_MULTI_SZ"}
        changes: list[tuple[str, str, str | None, object]] = []
        for key, now in self.snapshot().items():
            then, now = before[key] or {}, now or {}
            changes += [(key, name, None, None) for name in now.keys() - then.keys()]
            changes += [
                (key, name, kinds[int(str(kind))], data)
                for name, (kind, data) in then.items()
                if now.get(name) != [kind, data]
            ]
        if changes:
            self.change(*changes)


def c_compiler() -> str:
    """A compiler for Windows programs; the test is skipped if there is none."""
    for name in ("x86_64-w64-mingw32-gcc", *["gcc"] * (os.name == "nt")):
        if found := shutil.which(name):
            return found
    pytest.skip("no C compiler to build the fake programs")


@dataclass(frozen=True)
class FakePrograms:
    """A folder of fake programs. `add` adds one; `programs=` prepends the folder to PATH."""

    folder: Path
    player: Path

    def add(self, name: str, *, prints: bytes = b"", errors: bytes = b"", end: str = "0") -> None:
        """`end` is an exit status, or "hang", or "crash"."""
        shutil.copy(self.player, self.folder / f"{name}.exe")
        (self.folder / f"{name}.out").write_bytes(prints)
        (self.folder / f"{name}.err").write_bytes(errors)
        (self.folder / f"{name}.end").write_text(end)
