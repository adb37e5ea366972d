"""Where things are kept: this environment, caches, temporary files; and on what kind of volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Host, Reading, RegistryValue, Unreadable, Volume
from doctor.host.base import USER_ENVIRONMENT
from doctor.host.variables import inherited
from doctor.probes.paths import cache_home, join, local_app_data, system_drive
from doctor.probes.pip_cache import pip_cache_folder
from doctor.probes.system import FILE_SYSTEM_KEY, LONG_PATHS_VALUE

ONEDRIVE_VARIABLES = ("OneDrive", "OneDriveCommercial", "OneDriveConsumer")
ONEDRIVE_KEY, ONEDRIVE_VALUE = r"HKCU\Software\Microsoft\OneDrive", "UserFolder"


@dataclass(frozen=True)
class Place:
    """A folder, which need not exist yet, and what holds it."""

    path: str
    volume: Reading[Volume]  # Absent: there is no such drive
    onedrive: Reading[str]  # the folder kept in step with OneDrive that it lies in


def place(host: Host, path: str) -> Place:
    return Place(path, host.volume(path), _onedrive_above(host, path))


def _onedrive_above(host: Host, path: str) -> Reading[str]:
    told = host.registry_value(ONEDRIVE_KEY, ONEDRIVE_VALUE)
    folders = [host.variable(name) or "" for name in ONEDRIVE_VARIABLES]
    if isinstance(told, Found):
        folders.append(str(told.value.value))
    for folder in folders:
        if folder and host.identity.path(path).is_relative_to(folder):
            return Found(folder)
    return told if isinstance(told, Unreadable) else Absent()


def _environment(host: Host) -> Place:
    return place(host, host.identity.site_packages)


@dataclass(frozen=True)
class Cache:
    """A cache and the variable that moves it. `is_default`: the variable is not set, and the folder is the tool's own."""

    variable: str
    place: Place
    is_default: bool


@dataclass(frozen=True)
class CacheFacts:
    """The caches of this terminal's programs, those of programs from the desktop, and what the user has set."""

    process: tuple[Cache, ...]
    desktop: tuple[Cache, ...]
    user: dict[str, Reading[RegistryValue]]  # by variable
    long_paths: Reading[RegistryValue]
    drive: str  # "C:"


def _caches(host: Host) -> CacheFacts:
    """Of Hugging Face's models, torch.compile and Triton."""
    defaults = {
        "HF_HOME": _models(host),
        "TRITON_CACHE_DIR": join(
            host, host.variable("TRITON_HOME") or host.identity.home, ".triton", "cache"
        ),
    }
    if host.variable("HF_HUB_CACHE"):  # where the models really go
        defaults["HF_HUB_CACHE"] = join(host, defaults.pop("HF_HOME"), "hub")
    if temp := host.variable("TEMP") or host.variable("TMP"):
        defaults["TORCHINDUCTOR_CACHE_DIR"] = join(host, temp, f"torchinductor_{host.identity.user}")

    def caches(value_of: Callable[[str], str | None]) -> tuple[Cache, ...]:
        return tuple(
            Cache(variable, place(host, value_of(variable) or default), not value_of(variable))
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
class StoreFacts:
    """A folder into which much is written; `use` is what for."""

    use: str
    path: str
    volume: Reading[Volume]


def _stores(host: Host) -> tuple[StoreFacts, ...]:
    """Of packages, temporary files, downloads and models."""
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
    return tuple(StoreFacts(use, path, host.volume(path)) for use, path in folders.items() if path)


def _models(host: Host) -> str:
    """Where Hugging Face keeps models by itself."""
    return join(host, cache_home(host), "huggingface")


ENVIRONMENT = Probe("environment-place", _environment)
CACHES = Probe("caches", _caches)
STORES = Probe("stores", _stores)
