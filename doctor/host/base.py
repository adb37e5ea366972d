"""The interface to the machine: the doctor reads it through a `Reader` and changes it through a `Host`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, model_validator

from doctor.host.readings import Reading

RegistryType = Literal[
    "REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_DWORD", "REG_QWORD", "REG_BINARY", "REG_NONE"
]

# The registry keys of the environment variables that new programs get
USER_ENVIRONMENT = r"HKCU\Environment"
SYSTEM_ENVIRONMENT = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"

# The reason that `reach` gives begins with this if and only if the certificate is the problem
NOT_TRUSTED = "its certificate is not trusted here"

# effective: what git uses outside of any repository; user: what this user has set
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
        expected = {"REG_DWORD": int, "REG_QWORD": int, "REG_MULTI_SZ": tuple}.get(self.type, str)
        fits = isinstance(self.value, expected)
        if fits and self.type in ("REG_BINARY", "REG_NONE"):
            fits = re.fullmatch(r"([0-9a-f]{2})*", str(self.value)) is not None
        if isinstance(self.value, str | tuple):
            "".join(self.value).encode("utf-8")  # raises for a lone surrogate, which the journal cannot store
        if not fits:
            raise ValueError(f"{self.value!r} is not a {self.type}")
        return self


class Identity(Frozen):
    """System, Python and user of a machine. Read once, without WMI (`platform.*` can hang on Windows)."""

    os: Literal["windows", "linux", "macos"]
    os_build: str  # "10.0.22631" on Windows, else the kernel release
    architecture: str  # of the machine, not the process: "AMD64", "ARM64", "x86_64"
    elevated: bool
    wsl: bool
    ansi_code_page: int | None
    oem_code_page: int | None
    python: str  # "3.12.4"
    python_implementation: str  # "CPython"
    python_bits: int
    python_free_threaded: bool
    python_platform: str  # as in wheel tags: "win_amd64", "linux_x86_64"
    executable: str
    prefix: str
    base_prefix: str
    site_packages: str
    home: str
    user: str
    host_name: str
    processor_count: int | None = None  # logical processors available to this process; None: unknown
    glibc: tuple[int, int] | None = None  # None: not Linux, or Linux with another C library
    scripts: str | None = None  # where packages install their programs; None: an older recording
    other_python: bool = False  # another Python than the one that runs aios

    @property
    def python_minor(self) -> str:
        """ "3.12.4" -> "3.12"."""
        return ".".join(self.python.split(".")[:2])

    @property
    def in_virtual_environment(self) -> bool:
        return self.prefix != self.base_prefix

    def path(self, text: str) -> PurePath:
        """A path of that machine, whose system may differ from the one that runs this code."""
        return PureWindowsPath(text) if self.os == "windows" else PurePosixPath(text)


class Completed(Frozen):
    """A program that has ended. `exit_code` is unsigned on Windows; undecodable output bytes are escaped."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""


class Gpu(Frozen):
    """One NVIDIA GPU, as the driver reports it."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    total_memory_bytes: int
    driver_model: str | None = None  # "WDDM", "TCC" or "MCDM" on Windows


class NvidiaDriver(Frozen):
    """The NVIDIA driver and its GPUs.

    Attributes:
        cuda_version: the newest CUDA version that the driver supports: (13, 0).
        complaints: the errors that the driver reports beside the GPUs, such as one that does not answer.
    """

    driver_version: str
    cuda_version: tuple[int, int] | None
    gpus: tuple[Gpu, ...]
    complaints: tuple[str, ...] = ()


class Distribution(Frozen):
    """An installed Python distribution, from its metadata."""

    name: str
    version: str
    location: str  # the folder that holds its .dist-info
    direct_url: str | None = None  # PEP 610
    requires: tuple[str, ...] = ()  # PEP 508, as in Requires-Dist
    wheel_tags: tuple[str, ...] = ()  # "cp312-cp312-win_amd64"; empty: unknown


class OwnFiles(Frozen):
    """The files of the aios that is running, compared with what was installed.

    Attributes:
        installed: aios' distribution; None if it runs from a folder without being installed.
        recorded: how many files of aios its RECORD lists; 0 for an editable installation.
        changed: those that are missing or whose content has another hash.
        elsewhere: import name -> the file that Python would import instead of aios' own.
        claims: other distributions ("trainer 0.0.36") -> files that they install into aios' import packages.
    """

    installed: Distribution | None
    recorded: int
    changed: tuple[str, ...] = ()
    elsewhere: dict[str, str] = {}
    claims: dict[str, tuple[str, ...]] = {}


class Volume(Frozen):
    """The file system that holds a path."""

    root: str  # "C:\\", "/home"
    kind: Literal["fixed", "removable", "network", "memory", "unknown"]
    file_system: str  # "NTFS", "exFAT", "ext4"; "drvfs" for a Windows drive seen from WSL
    total_bytes: int
    free_bytes: int  # for this user


class Memory(Frozen):
    """The memory of the machine. The commit limit is the total that programs can allocate (Windows: RAM and page files)."""

    total_bytes: int
    available_bytes: int
    commit_limit_bytes: int
    commit_available_bytes: int


class Binary(Frozen):
    """A program or library of Windows (PE file) or Linux (ELF file), from its headers; it is not executed."""

    machine: Literal["x64", "x86", "arm64", "other"]
    imports: tuple[str, ...]  # the libraries that it needs to load; DLLs in lower case
    version: str | None = None  # "14.44.35112.1", from its version resource
    symbol_versions: tuple[str, ...] = ()  # Linux: those it needs of its libraries, such as "GLIBC_2.32"


class RunningProgram(Frozen):
    """A running process."""

    pid: int
    name: str


class Reached(Frozen):
    """A server that answered over TLS with a certificate that this Python trusts."""

    issuer: str  # of the certificate


@dataclass(frozen=True)
class ElevationRefused:
    """The user declined the prompt, or there was no way to ask."""

    reason: str


class Reader(Protocol):
    """Reads one machine: the live one or a recorded one.

    No method raises for the state of the machine: what is missing is `Absent`, what cannot be read is `Unreadable`.
    """

    @property
    def identity(self) -> Identity:
        """System, Python and user of the machine."""

    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]:
        """A value below `key`, which is spelled `HKLM\\...` or `HKCU\\...`."""

    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]:
        """The names of the keys directly below `key`."""

    def variable(self, name: str) -> str | None:
        """An environment variable of this process."""

    def variable_names(self, prefix: str) -> tuple[str, ...]:
        """The environment variables whose names start with `prefix`, sorted."""

    def read_file(self, path: str) -> Reading[bytes]:
        """The content of a small file. `path` is absolute, as in every other method."""

    def list_directory(self, path: str) -> Reading[tuple[str, ...]]:
        """The names in a folder, sorted."""

    def libraries_below(self, folder: str, without: Collection[str] = ()) -> Reading[tuple[str, ...]]:
        """The compiled libraries below a folder, as relative paths with slashes, sorted.

        The folders in it whose names are in `without` are left out.
        """

    def find_program(self, name: str) -> Reading[str]:
        """The full path of a program on PATH."""

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        """Run a program without a shell, for at most `timeout` seconds.

        `command` starts with an absolute path or with a name on PATH (Absent: there is no such program).
        `environment` is added to the variables of this process.
        """

    def distribution(self, name: str) -> Reading[Distribution]:
        """An installed distribution of this Python."""

    def distributions(self) -> Reading[tuple[Distribution, ...]]:
        """All installed distributions of this Python."""

    def own_files(self) -> Reading[OwnFiles]:
        """The files of the aios that is running, compared with what was installed."""

    def nvml(self) -> Reading[NvidiaDriver]:
        """The NVIDIA driver and its GPUs. Absent: no driver is installed."""

    def git_setting(self, name: str, scope: GitScope = "effective") -> Reading[str]:
        """A setting of git."""

    def volume(self, path: str) -> Reading[Volume]:
        """The file system that holds `path`, which need not exist yet."""

    def memory(self) -> Reading[Memory]:
        """The memory of the machine."""

    def binary(self, path: str) -> Reading[Binary]:
        """A program or library of Windows or Linux, from its headers."""

    def programs_using(self, folder: str) -> Reading[tuple[RunningProgram, ...]]:
        """The other Python programs that have a file below `folder` loaded."""

    def reach(self, url: str, timeout: float) -> Reading[Reached]:
        """Open a TLS connection to the server of `url`, without a proxy. Absent: its name does not resolve."""

    def boot_time(self) -> Reading[float]:
        """When the system started, in seconds since 1970."""


class Writer(Protocol):
    """Changes one machine. Every method raises OSError; only actions and the elevation call them."""

    def set_registry_value(self, key: str, name: str, value: RegistryValue | None) -> None:
        """Set a registry value; None deletes it."""

    def set_variable(self, name: str, value: str | None) -> None:
        """Set an environment variable of this process; None deletes it."""

    def broadcast_environment_change(self) -> None:
        """Tell running programs that the registry has new environment variables. Does nothing outside Windows."""

    def make_directory(self, path: str) -> None:
        """Create a folder and the folders above it, unless they exist."""

    def remove_directory(self, path: str) -> None:
        """Delete an empty folder."""

    def write_file(self, path: str, content: bytes | None) -> None:
        """Write a file atomically; None deletes it."""

    def move_folder(self, path: str, destination: str) -> None:
        """Move a folder within a volume. An existing `destination` is an error."""

    def set_git_setting(self, name: str, value: str | None) -> None:
        """Set a setting of git for this user; None deletes it."""

    def set_packages(self, wanted: Mapping[str, str | None]) -> None:
        """Let pip install or remove packages of this Python: name -> version specifier ("" for any), or None to remove."""

    def run_installer(self, command: Sequence[str]) -> int:
        """Run a program with its output on this process's stderr, and return its exit code."""

    def set_registry_values_elevated(
        self, changes: Sequence[tuple[str, str, RegistryValue | None]], timeout: float
    ) -> int | ElevationRefused:
        """Ask once for administrator rights, let Windows' own reg.exe set or remove values below HKLM, return its exit code.

        Raises ValueError if a change is not a plain constant, TimeoutError if it does not end within `timeout` seconds.
        """


class Host(Reader, Writer, Protocol):
    """One machine, to read and to change: the live one or a recorded one."""
