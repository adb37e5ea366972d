"""The door to the machine: everything that the doctor reads or changes goes through a `Host`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, model_validator

from doctor.host.readings import Reading

RegistryType = Literal[
    "REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_DWORD", "REG_QWORD", "REG_BINARY", "REG_NONE"
]

# Where Windows keeps the variables that programs start with
USER_ENVIRONMENT = r"HKCU\Environment"
SYSTEM_ENVIRONMENT = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"

NOT_TRUSTED = (
    "its certificate is not trusted here"  # how `reach` begins where TLS alone failed, and only for that
)

# What git uses outside of any repository; what this user has set.
GitScope = Literal["effective", "user"]


class Frozen(BaseModel):
    """An immutable value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RegistryValue(Frozen):
    """A registry value with its type. REG_BINARY and REG_NONE data is hexadecimal text."""

    type: RegistryType
    value: int | str | tuple[str, ...]

    @model_validator(mode="after")
    def _fits_its_type(self) -> RegistryValue:
        wanted = {"REG_DWORD": int, "REG_QWORD": int, "REG_MULTI_SZ": tuple}.get(self.type, str)
        fits = isinstance(self.value, wanted)
        if fits and self.type in ("REG_BINARY", "REG_NONE"):
            fits = re.fullmatch(r"([0-9a-f]{2})*", str(self.value)) is not None
        if isinstance(self.value, str | tuple):
            "".join(self.value).encode("utf-8")  # a lone surrogate could be written to no journal
        if not fits:
            raise ValueError(f"{self.value!r} is no {self.type}")
        return self


class Identity(Frozen):
    """Who and what this machine is: read once, without WMI (`platform.*` hangs on Windows)."""

    os: Literal["windows", "linux", "macos"]
    os_build: str  # "10.0.22631"; the kernel release elsewhere
    architecture: str  # of the machine, not of the process: "AMD64", "ARM64", "x86_64"
    elevated: bool
    wsl: bool
    ansi_code_page: int | None
    oem_code_page: int | None
    python: str  # "3.12.4"
    python_implementation: str  # "CPython"
    python_bits: int
    python_free_threaded: bool
    python_platform: str  # a wheel's platform tag: "win_amd64", "linux_x86_64"
    executable: str
    prefix: str
    base_prefix: str
    site_packages: str
    home: str
    user: str
    host_name: str
    processor_count: int | None = None  # logical processors that this process may use; None: nobody says
    glibc: tuple[int, int] | None = None  # the C library of a Linux; None: another one, or another system

    @property
    def python_minor(self) -> str:
        """ "3.12.4" -> "3.12"."""
        return ".".join(self.python.split(".")[:2])

    @property
    def in_virtual_environment(self) -> bool:
        return self.prefix != self.base_prefix

    def path(self, text: str) -> PurePath:
        """A path as this machine reads it, which need not be the machine that looks."""
        return PureWindowsPath(text) if self.os == "windows" else PurePosixPath(text)


class Completed(Frozen):
    """A program that ran to its end. `exit_code` is unsigned on Windows; output is bytes decoded tolerantly."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""


class Gpu(Frozen):
    """One NVIDIA GPU as the driver describes it."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    total_memory_bytes: int
    driver_model: str | None = None  # "WDDM", "TCC" or "MCDM" on Windows


class NvidiaDriver(Frozen):
    """The NVIDIA driver and its GPUs. `cuda_version` is the newest CUDA that the driver supports: (13, 0)."""

    driver_version: str
    cuda_version: tuple[int, int] | None
    gpus: tuple[Gpu, ...]


class Distribution(Frozen):
    """An installed Python distribution, from its metadata alone."""

    name: str
    version: str
    location: str  # the folder that holds its .dist-info
    direct_url: str | None = None  # PEP 610
    requires: tuple[str, ...] = ()  # PEP 508, as in Requires-Dist
    wheel_tags: tuple[str, ...] = ()  # "cp312-cp312-win_amd64": what it was built for; empty: nobody says


class Volume(Frozen):
    """The file system that holds a path."""

    root: str  # "C:\\", "/home"
    kind: Literal["fixed", "removable", "network", "memory", "unknown"]
    file_system: str  # "NTFS", "exFAT", "ext4"; "drvfs" for a Windows drive seen from WSL
    total_bytes: int
    free_bytes: int  # for this user


class Memory(Frozen):
    """The machine's memory. What programs may ask for altogether (Windows: RAM and page files) is the commit limit."""

    total_bytes: int
    available_bytes: int
    commit_limit_bytes: int
    commit_available_bytes: int


class Binary(Frozen):
    """A Windows program or library (PE file) as its own tables describe it; nothing of it is run."""

    machine: Literal["x64", "x86", "arm64", "other"]
    imports: tuple[str, ...]  # the DLLs it cannot load without, in lower case
    version: str | None = None  # "14.44.35112.1", of its version resource


class RunningProgram(Frozen):
    """A process of this machine."""

    pid: int
    name: str


class Reached(Frozen):
    """A server that answered over TLS with a certificate that this Python trusts."""

    issuer: str  # who signed it


@dataclass(frozen=True)
class ElevationRefused:
    """The user said no to the prompt, or nobody was there to answer it."""

    reason: str


class Host(Protocol):
    """One machine: the live one, a recorded one, or a live one being recorded.

    Readers never raise for what a machine may do to them: they return `Absent` or `Unreadable`.
    Writers raise `OSError`; only `doctor.fixes.executor` calls them.
    Registry keys are spelled ``HKLM\\...`` or ``HKCU\\...``; relative paths are refused.
    `run` takes an absolute path or a bare name, which is looked up on PATH (Absent: there is no such program), and never
    a shell; `environment` is what the child gets besides this process's variables.
    `run_elevated` raises TimeoutError where the program does not end in time.
    `volume` answers for a path that does not exist yet, too: by the folder that would hold it.
    `reach` opens a TLS connection to the address's host, through no proxy; Absent: its name is unknown here.
    `set_packages` has pip install (name → version specifier, "" for any) or remove (None) packages of this Python.
    `run_installer` shows the program's own output on this process's stderr, and gives its exit code.
    """

    @property
    def identity(self) -> Identity: ...

    # -- reading
    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]: ...
    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]: ...
    def variable(self, name: str) -> str | None: ...
    def variable_names(self, prefix: str) -> tuple[str, ...]: ...
    def read_file(self, path: str) -> Reading[bytes]: ...
    def list_directory(self, path: str) -> Reading[tuple[str, ...]]: ...
    def find_program(self, name: str) -> Reading[str]: ...
    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]: ...
    def distribution(self, name: str) -> Reading[Distribution]: ...
    def nvml(self) -> Reading[NvidiaDriver]: ...
    def git_setting(self, name: str, scope: GitScope = "effective") -> Reading[str]: ...
    def distributions(self) -> Reading[tuple[Distribution, ...]]: ...
    def volume(self, path: str) -> Reading[Volume]: ...
    def memory(self) -> Reading[Memory]: ...
    def binary(self, path: str) -> Reading[Binary]: ...
    def programs_using(self, folder: str) -> Reading[tuple[RunningProgram, ...]]: ...
    def reach(self, url: str, timeout: float) -> Reading[Reached]: ...
    def boot_time(self) -> Reading[float]: ...

    # -- writing
    def set_registry_value(self, key: str, name: str, value: RegistryValue | None) -> None: ...
    def set_variable(self, name: str, value: str | None) -> None: ...
    def broadcast_environment_change(self) -> None: ...
    def make_directory(self, path: str) -> None: ...
    def remove_directory(self, path: str) -> None: ...
    def write_file(self, path: str, content: bytes | None) -> None: ...
    def move_folder(self, path: str, destination: str) -> None: ...
    def set_git_setting(self, name: str, value: str | None) -> None: ...
    def set_packages(self, wanted: Mapping[str, str | None]) -> None: ...
    def run_installer(self, command: Sequence[str]) -> int: ...
    def run_elevated(self, command: Sequence[str], timeout: float) -> int | ElevationRefused: ...
