"""The wheels that pip built here and keeps. Its folders are read; pip is not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from doctor.check import Probe
from doctor.host import Absent, Found, Host, Reading, Unreadable
from doctor.probes.package_index import pip_files
from doctor.probes.paths import join, user_cache

COMPILED_AGAINST_TORCH = ("flash-attn", "xformers")
LEVELS = 4  # pip spreads wheels over folders within folders


@dataclass(frozen=True)
class CachedWheel:
    """A wheel by its file name. `pythons` are those that may take it: "cp312", "py3", "abi3" for the newer ones, too."""

    name: str
    version: Version
    file: str
    pythons: tuple[str, ...]


@dataclass(frozen=True)
class PipCacheFacts:
    """`wheels` are those of packages that are compiled against one torch; Absent: pip keeps none, or nothing at all."""

    folder: str
    wheels: Reading[tuple[CachedWheel, ...]]


def pip_cache_folder(host: Host) -> str:
    """As pip finds its cache."""
    set_ = [file.settings.value for file in pip_files(host) if isinstance(file.settings, Found)]
    named = host.variable("PIP_CACHE_DIR") or next(
        filter(None, (settings.get("global.cache-dir") for settings in reversed(set_))), None
    )
    if named:
        return named
    folder = join(host, user_cache(host), "pip")
    return join(host, folder, "Cache") if host.identity.os == "windows" else folder


def parse_wheel(file: str) -> CachedWheel | None:
    """A wheel's file name; None where it is none, or none of the packages that matter."""
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except (InvalidWheelFilename, ValueError):
        return None
    if name not in COMPILED_AGAINST_TORCH:
        return None
    pythons = {"abi3" if tag.abi == "abi3" else tag.interpreter for tag in tags}
    return CachedWheel(name, version, file, tuple(sorted(pythons)))


def _below(host: Host, folder: str, levels: int) -> Iterator[Reading[tuple[str, ...]]]:
    """The names in the folders at the bottom; pip names its folders by the digits of a hash."""
    names = host.list_directory(folder)
    if levels == 0 or not isinstance(names, Found):
        yield names
        return
    for name in names.value:
        if re.fullmatch("[0-9a-f]+", name):
            yield from _below(host, join(host, folder, name), levels - 1)


def _pip_cache(host: Host) -> PipCacheFacts:
    folder = join(host, pip_cache_folder(host), "wheels")
    wheels: list[CachedWheel] = []
    for names in _below(host, folder, LEVELS):
        if isinstance(names, Unreadable):
            return PipCacheFacts(folder, names)
        found = map(parse_wheel, names.value if isinstance(names, Found) else ())
        wheels += [wheel for wheel in found if wheel]
    return PipCacheFacts(folder, Found(tuple(sorted(wheels, key=lambda w: w.file))) if wheels else Absent())


PIP_CACHE = Probe("pip-cache", _pip_cache)
