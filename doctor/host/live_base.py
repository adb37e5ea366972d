"""This machine: what all systems share. `windows.py` and `posix.py` add what each has of its own."""

from __future__ import annotations

import os
import struct
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from doctor.host.base import Completed, Distribution, GitScope, Identity, NvidiaDriver
from doctor.host.files import write_atomically
from doctor.host.git import read_setting, write_setting
from doctor.host.programs import find_on_path, run_bounded
from doctor.host.readings import Absent, Found, Reading, Unreadable, as_unicode

GIT_TIMEOUT = 10.0  # seconds


class LiveHost(ABC):
    """Environment, files, programs, distributions, NVML and git of this machine."""

    @property
    @abstractmethod
    def identity(self) -> Identity: ...

    @property
    @abstractmethod
    def _program_extensions(self) -> tuple[str, ...]:
        """What the system puts behind the bare name of a program, in its order."""

    # -- environment
    def variable(self, name: str) -> str | None:
        value = os.environ.get(name)
        return None if value is None else as_unicode(value)

    def variable_names(self, prefix: str) -> tuple[str, ...]:
        start = prefix.upper() if os.name == "nt" else prefix  # os.environ holds upper case there
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

    # -- programs
    def find_program(self, name: str) -> Reading[str]:
        return find_on_path(name, os.environ.get("PATH", ""), self._program_extensions)

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        program: Reading[str] = (
            Found(command[0]) if Path(command[0]).is_absolute() else self.find_program(command[0])
        )
        if not isinstance(program, Found):
            return program
        return run_bounded(
            [program.value, *command[1:]],
            timeout,
            {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", **(environment or {})},
            self.identity.oem_code_page,
        )

    # -- what is installed
    def distribution(self, name: str) -> Reading[Distribution]:
        from doctor.host.distributions import read_distribution

        return read_distribution(name)

    def nvml(self) -> Reading[NvidiaDriver]:
        return self._driver

    @cached_property
    def _driver(self) -> Reading[NvidiaDriver]:
        """Asked once: one that does not answer takes its time to say so."""
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
    """The part of an identity that describes this Python, which every system says in the same way."""
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
        "home": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() raises where there is none
    }
