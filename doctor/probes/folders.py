"""The folders of this environment, of caches and of temporary files, and the volumes they are on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, RegistryValue, Unreadable, Volume
from doctor.host.base import USER_ENVIRONMENT
from doctor.host.variables import inherited
from doctor.probes.paths import cache_home, join, local_app_data, system_drive
from doctor.probes.pip_cache import pip_cache_folder
from doctor.probes.system import FILE_SYSTEM_KEY, LONG_PATHS_VALUE

ONEDRIVE_VARIABLES = ("OneDrive", "OneDriveCommercial", "OneDriveConsumer")
ONEDRIVE_KEY, ONEDRIVE_VALUE = r"HKCU\Software\Microsoft\OneDrive", "UserFolder"


@dataclass(frozen=True)
class Folder:
    """A folder, which may not exist yet.

    Attributes:
        volume: the volume it is on; Absent if there is no such drive.
        onedrive: the folder synchronized by OneDrive that contains it.
    """

    path: str
    volume: Reading[Volume]
    onedrive: Reading[str]


def read_folder(host: Reader, path: str) -> Folder:
    return Folder(path, host.volume(path), _onedrive_above(host, path))


def _onedrive_above(host: Reader, path: str) -> Reading[str]:
    registered = host.registry_value(ONEDRIVE_KEY, ONEDRIVE_VALUE)
    folders = [host.variable(name) or "" for name in ONEDRIVE_VARIABLES]
    if isinstance(registered, Found):
        folders.append(str(registered.value.value))
    for folder in folders:
        if folder and host.identity.path(path).is_relative_to(folder):
            return Found(folder)
    return registered if isinstance(registered, Unreadable) else Absent()


def _environment(host: Reader) -> Folder:
    return read_folder(host, host.identity.site_packages)


@dataclass(frozen=True)
class Cache:
    """A cache and the variable that moves it. `is_default`: the variable is not set, so the tool uses its default."""

    variable: str
    folder: Folder
    is_default: bool


@dataclass(frozen=True)
class CacheFacts:
    """The caches of models and compiled kernels.

    Attributes:
        process: as programs started in this terminal see them.
        desktop: as programs started from the desktop see them.
        user: the user's registry values, by variable.
        drive: the system drive, such as "C:".
    """

    process: tuple[Cache, ...]
    desktop: tuple[Cache, ...]
    user: dict[str, Reading[RegistryValue]]
    long_paths: Reading[RegistryValue]
    drive: str


def _caches(host: Reader) -> CacheFacts:
    """The caches of Hugging Face models, torch.compile and Triton."""
    defaults = {
        "HF_HOME": _models(host),
        "TRITON_CACHE_DIR": join(
            host, host.variable("TRITON_HOME") or host.identity.home, ".triton", "cache"
        ),
    }
    if host.variable("HF_HUB_CACHE"):  # takes precedence over HF_HOME for models
        defaults["HF_HUB_CACHE"] = join(host, defaults.pop("HF_HOME"), "hub")
    if temp := host.variable("TEMP") or host.variable("TMP"):
        defaults["TORCHINDUCTOR_CACHE_DIR"] = join(host, temp, f"torchinductor_{host.identity.user}")

    def caches(value_of: Callable[[str], str | None]) -> tuple[Cache, ...]:
        return tuple(
            Cache(variable, read_folder(host, value_of(variable) or default), not value_of(variable))
            for variable, default in defaults.items()
        )

    return CacheFacts(
        process=caches(host.variable),
        desktop=caches(lambda variable: inherited(host, variable)),
        user={variable: host.registry_value(USER_ENVIRONMENT, variable) for variable in defaults},
        long_paths=host.registry_value(FILE_SYSTEM_KEY, LONG_PATHS_VALUE),
        drive=system_drive(host),
    )


@dataclass(frozen=True)
class DiskUse:
    """A folder that takes gigabytes, and what it is used for."""

    use: str
    path: str
    volume: Reading[Volume]


def _disk_uses(host: Reader) -> tuple[DiskUse, ...]:
    """The folders of packages, temporary files, downloads and models."""
    if host.identity.os == "windows":
        temporary = host.variable("TEMP") or ""
        uv = join(host, local_app_data(host), "uv", "cache")
    else:
        temporary = host.variable("TMPDIR") or "/tmp"
        uv = join(host, cache_home(host), "uv")
    folders = {
        "packages": host.identity.site_packages,
        "temporary files": temporary,
        "pip's cache": pip_cache_folder(host),
        "uv's cache": host.variable("UV_CACHE_DIR") or uv,
        "models": host.variable("HF_HUB_CACHE") or host.variable("HF_HOME") or _models(host),
    }
    return tuple(DiskUse(use, path, host.volume(path)) for use, path in folders.items() if path)


def _models(host: Reader) -> str:
    """The default cache of Hugging Face models."""
    return join(host, cache_home(host), "huggingface")


ENVIRONMENT = Probe("environment-folder", _environment)
CACHES = Probe("caches", _caches)
DISK_USES = Probe("disk-uses", _disk_uses)
