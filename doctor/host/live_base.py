"""The parts of the live host that all systems share; `windows.py` and `posix.py` have the others."""

from __future__ import annotations

import os
import stat
import struct
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from doctor.files import write_atomically
from doctor.host.base import (
    Binary,
    Completed,
    Distribution,
    GitScope,
    Identity,
    Memory,
    NvidiaDriver,
    OwnFiles,
    Reached,
    RunningProgram,
    Volume,
)
from doctor.host.git import read_setting, write_setting
from doctor.host.programs import find_on_path, run_bounded
from doctor.host.readings import Absent, Found, Reading, Unreadable, as_unicode
from doctor.host.time_limit import with_time_limit

GIT_TIMEOUT = 10.0  # seconds
DRIVE_TIMEOUT = 3.0  # seconds; a network drive without its server blocks for a minute
LARGEST_FILE = 64 * 1024 * 1024  # bytes; the files that probes read have a few megabytes at most


class LiveHost(ABC):
    """Environment, files, programs, distributions, NVML and git of this machine."""

    @property
    @abstractmethod
    def identity(self) -> Identity: ...

    @property
    @abstractmethod
    def _program_extensions(self) -> tuple[str, ...]:
        """The file extensions that the system tries for the name of a program, in its order."""

    # -- environment
    def variable(self, name: str) -> str | None:
        value = os.environ.get(name)
        return None if value is None else as_unicode(value)

    def variable_names(self, prefix: str) -> tuple[str, ...]:
        start = prefix.upper() if os.name == "nt" else prefix  # os.environ has upper-case names there
        return tuple(sorted(as_unicode(name) for name in os.environ if name.startswith(start)))

    def set_variable(self, name: str, value: str | None) -> None:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

    # -- files
    def read_file(self, path: str) -> Reading[bytes]:
        if not Path(path).is_absolute():
            return Unreadable(f"{path} is not an absolute path")
        try:
            status = Path(path).stat()
            if stat.S_ISFIFO(status.st_mode):  # opening it would wait for a writer
                return Unreadable("it is a pipe, not a file")
            if status.st_size > LARGEST_FILE:
                return Unreadable(f"it is too large to read: {status.st_size / 1e6:.0f} MB")
            return Found(Path(path).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return Absent()
        except (OSError, ValueError) as error:
            return Unreadable.because(error)

    def list_directory(self, path: str) -> Reading[tuple[str, ...]]:
        if not Path(path).is_absolute():
            return Unreadable(f"{path} is not an absolute path")
        try:
            return Found(tuple(sorted(as_unicode(entry.name) for entry in Path(path).iterdir())))
        except FileNotFoundError:
            return Absent()
        except NotADirectoryError:
            return Unreadable(f"{path} is not a folder")
        except (OSError, ValueError) as error:
            return Unreadable.because(error)

    def make_directory(self, path: str) -> None:
        _absolute(path).mkdir(parents=True, exist_ok=True)

    def remove_directory(self, path: str) -> None:
        _absolute(path).rmdir()

    def write_file(self, path: str, content: bytes | None) -> None:
        if content is None:
            _absolute(path).unlink()
        else:
            write_atomically(_absolute(path), content)

    def move_folder(self, path: str, destination: str) -> None:
        if os.path.lexists(_absolute(destination)):
            raise FileExistsError(f"{destination} already exists")
        _absolute(path).rename(destination)

    def volume(self, path: str) -> Reading[Volume]:
        if not Path(path).is_absolute():
            return Unreadable(f"{path} is not an absolute path")
        from doctor.host.volumes import read_volume

        return with_time_limit(DRIVE_TIMEOUT, lambda: read_volume(path))

    def binary(self, path: str) -> Reading[Binary]:
        if not Path(path).is_absolute():
            return Unreadable(f"{path} is not an absolute path")
        from doctor.host.binaries import read_binary

        return read_binary(path)

    # -- programs
    def find_program(self, name: str) -> Reading[str]:
        return find_on_path(name, os.environ.get("PATH", ""), self._program_extensions)

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        program = self._program(command[0])
        if not isinstance(program, Found):
            return program
        return run_bounded(
            [program.value, *command[1:]],
            timeout,
            {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", **(environment or {})},
            self.identity.oem_code_page,
        )

    def run_installer(self, command: Sequence[str]) -> int:
        program = self._program(command[0])
        if not isinstance(program, Found):
            raise FileNotFoundError(f"{command[0]}: no such program")
        from doctor.host.run_installer import run_in_console

        return run_in_console([program.value, *command[1:]])

    def _program(self, name: str) -> Reading[str]:
        return Found(name) if Path(name).is_absolute() else self.find_program(name)

    def programs_using(self, folder: str) -> Reading[tuple[RunningProgram, ...]]:
        from doctor.host.processes import read_programs_using

        return read_programs_using(folder)

    # -- the machine
    def memory(self) -> Reading[Memory]:
        from doctor.host.memory import read_memory

        try:
            return read_memory()
        except (OSError, ValueError) as error:
            return Unreadable.because(error)

    def reach(self, url: str, timeout: float) -> Reading[Reached]:
        from doctor.host.servers import reach

        return reach(url, timeout)

    # -- what is installed
    def distribution(self, name: str) -> Reading[Distribution]:
        from doctor.host.distributions import read_distribution

        return read_distribution(name)

    def distributions(self) -> Reading[tuple[Distribution, ...]]:
        from doctor.host.distributions import read_distributions

        return read_distributions()

    def own_files(self) -> Reading[OwnFiles]:
        from doctor.host.own_files import read_own_files

        return read_own_files()

    def set_packages(self, wanted: Mapping[str, str | None]) -> None:
        from doctor.host.set_packages import set_packages

        set_packages(self.run, wanted)

    def nvml(self) -> Reading[NvidiaDriver]:
        return self._driver

    @cached_property
    def _driver(self) -> Reading[NvidiaDriver]:
        """Queried once, because a driver that hangs costs the whole timeout."""
        from doctor.host.nvml import read_driver

        return read_driver(self.run)

    def git_setting(self, name: str, scope: GitScope = "effective") -> Reading[str]:
        return read_setting(self._run_git, name, scope)

    def set_git_setting(self, name: str, value: str | None) -> None:
        write_setting(self._run_git, name, value)

    def _run_git(self, command: Sequence[str]) -> Reading[Completed]:
        return self.run(command, GIT_TIMEOUT)


def _absolute(path: str) -> Path:
    if not Path(path).is_absolute():
        raise OSError(f"{path} is not an absolute path")
    return Path(path)


def python_identity() -> dict[str, Any]:
    """The part of an identity that describes this Python, the same on all systems."""
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "python": version if sys.version_info.releaselevel == "final" else sys.version.split()[0],
        "python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(
            sys.implementation.name, sys.implementation.name
        ),
        "python_bits": struct.calcsize("P") * 8,
        "python_free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "python_platform": sysconfig.get_platform().replace("-", "_").replace(".", "_"),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "site_packages": sysconfig.get_path("purelib"),
        "processor_count": _processor_count(),
        "home": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() raises if there is none
    }


def _processor_count() -> int | None:
    """The number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
