"""The parts of the live host that all systems share; `windows.py` and `posix.py` have the others."""

from __future__ import annotations

import os
import struct
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from doctor.bounded import read_bytes
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
from doctor.host.other_python import ACTIVE, OtherPython, without_python_variables
from doctor.host.programs import find_on_path, run_bounded
from doctor.host.readings import Absent, Found, Reading, Unreadable, as_unicode
from doctor.host.time_limit import with_time_limit

GIT_TIMEOUT = 10.0  # seconds
DRIVE_TIMEOUT = 3.0  # seconds; a network drive without its server blocks for a minute
IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy"}


class LiveHost(ABC):
    """Environment, files, programs, distributions, NVML and git of this machine.

    `python`: the Python that it describes, if it is not the one that runs aios.
    """

    def __init__(self, python: OtherPython | None = None) -> None:
        self._python = python

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
        if value is None or (self._python and name in ACTIVE):  # of the terminal, not of that Python
            return None
        return as_unicode(value)

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
            return Found(read_bytes(Path(path)))
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

    def libraries_below(self, folder: str, without: Collection[str] = ()) -> Reading[tuple[str, ...]]:
        if not Path(folder).is_absolute():
            return Unreadable(f"{folder} is not an absolute path")
        from doctor.host.libraries import read_libraries

        return read_libraries(folder, without)

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
            {**self._variables, "PYTHONIOENCODING": "utf-8:backslashreplace", **(environment or {})},
            self.identity.oem_code_page,
        )

    @property
    def _variables(self) -> Mapping[str, str]:
        """The environment variables of the programs that are run."""
        return without_python_variables(os.environ) if self._python else os.environ

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

        return read_distribution(name, self._search_path)

    def distributions(self) -> Reading[tuple[Distribution, ...]]:
        from doctor.host.distributions import read_distributions

        return read_distributions(self._search_path)

    @cached_property
    def _search_path(self) -> tuple[str, ...] | None:
        """Where the other Python finds packages; None: it is this one."""
        return self._python.search_path if self._python else None

    def own_files(self) -> Reading[OwnFiles]:
        from doctor.host.own_files import read_own_files

        return read_own_files()

    def set_packages(self, wanted: Mapping[str, str | None]) -> None:
        from doctor.host.set_packages import set_packages

        if self._python is None:
            set_packages(self.run, wanted)
        else:
            has_pip = isinstance(self.distribution("pip"), Found)
            set_packages(self.run, wanted, self._python.executable, has_pip)

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


def python_identity(other: OtherPython | None = None) -> dict[str, Any]:
    """The part of an identity that describes the Python, the same on all systems."""
    of_machine = {
        "processor_count": _processor_count(),
        "home": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() raises if there is none
    }
    return {**of_machine, **(_of_this_python() if other is None else _of(other))}


def _of(other: OtherPython) -> dict[str, Any]:
    return {
        "python": other.python,
        "python_implementation": IMPLEMENTATIONS.get(other.implementation, other.implementation),
        "python_bits": other.bits,
        "python_free_threaded": other.free_threaded,
        "python_platform": _platform_tag(other.platform),
        "executable": other.executable,
        "prefix": other.prefix,
        "base_prefix": other.base_prefix,
        "site_packages": other.site_packages,
        "scripts": other.scripts,
        "glibc": other.glibc,
        "other_python": True,
    }


def _of_this_python() -> dict[str, Any]:
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "python": version if sys.version_info.releaselevel == "final" else sys.version.split()[0],
        "python_implementation": IMPLEMENTATIONS.get(sys.implementation.name, sys.implementation.name),
        "python_bits": struct.calcsize("P") * 8,
        "python_free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "python_platform": _platform_tag(sysconfig.get_platform()),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "site_packages": sysconfig.get_path("purelib"),
        "scripts": sysconfig.get_path("scripts"),
    }


def _platform_tag(platform: str) -> str:
    """The platform in wheel tags: "linux-x86_64" -> "linux_x86_64"."""
    return platform.replace("-", "_").replace(".", "_")


def _processor_count() -> int | None:
    """The number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
