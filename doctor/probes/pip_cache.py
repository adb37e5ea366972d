"""The wheels that pip built on this machine and cached, read from its cache folder. pip is not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, Unreadable
from doctor.probes.package_index import pip_files
from doctor.probes.paths import join, user_cache

COMPILED_AGAINST_TORCH = ("flash-attn", "xformers")
LEVELS = 4  # of folders above the cached wheels


@dataclass(frozen=True)
class CachedWheel:
    """A cached wheel. `pythons` are the tags of the Pythons it supports: "cp312", "py3", "abi3"."""

    name: str
    version: Version
    file: str
    pythons: tuple[str, ...]


@dataclass(frozen=True)
class PipCacheFacts:
    """The cached wheels of packages that are compiled against one torch; Absent if there are none."""

    folder: str
    wheels: Reading[tuple[CachedWheel, ...]]


def pip_cache_folder(host: Reader) -> str:
    """Return pip's cache folder, found as pip finds it."""
    files = [file.settings.value for file in pip_files(host) if isinstance(file.settings, Found)]
    in_files = (settings.get("global.cache-dir") for settings in reversed(files))
    if configured := host.variable("PIP_CACHE_DIR") or next(filter(None, in_files), None):
        return configured
    folder = join(host, user_cache(host), "pip")
    return join(host, folder, "Cache") if host.identity.os == "windows" else folder


def parse_wheel(file: str) -> CachedWheel | None:
    """Parse a wheel's file name; None if it is not a wheel of a package in COMPILED_AGAINST_TORCH."""
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except (InvalidWheelFilename, ValueError):
        return None
    if name not in COMPILED_AGAINST_TORCH:
        return None
    pythons = {"abi3" if tag.abi == "abi3" else tag.interpreter for tag in tags}
    return CachedWheel(name, version, file, tuple(sorted(pythons)))


def _below(host: Reader, folder: str, levels: int) -> Iterator[Reading[tuple[str, ...]]]:
    """Yield the listings of the folders `levels` below `folder`; pip names them after digits of a hash."""
    names = host.list_directory(folder)
    if levels == 0 or not isinstance(names, Found):
        yield names
        return
    for name in names.value:
        if re.fullmatch("[0-9a-f]+", name):
            yield from _below(host, join(host, folder, name), levels - 1)


def _pip_cache(host: Reader) -> PipCacheFacts:
    folder = join(host, pip_cache_folder(host), "wheels")
    wheels: list[CachedWheel] = []
    for names in _below(host, folder, LEVELS):
        if isinstance(names, Unreadable):
            return PipCacheFacts(folder, names)
        found = map(parse_wheel, names.value if isinstance(names, Found) else ())
        wheels += [wheel for wheel in found if wheel]
    return PipCacheFacts(folder, Found(tuple(sorted(wheels, key=lambda w: w.file))) if wheels else Absent())


PIP_CACHE = Probe("pip-cache", _pip_cache)
