"""Which wheel tags (PEP 425, PEP 600) a Python accepts, for any Python, not only the running one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from packaging.tags import compatible_tags, cpython_tags, parse_tag

from wheels.filename import WheelName
from wheels.machine import Machine

Glibc = tuple[int, int]
NEWEST_GLIBC = (2, 99)  # if the version is not known: excludes nothing
# PEP 600: the glibc that the legacy manylinux names stand for
LEGACY = {(2, 5): "manylinux1", (2, 12): "manylinux2010", (2, 17): "manylinux2014"}
LIBC = re.compile(r"(?:many|musl)linux(?:\d+|_\d+_\d+)_")


def fits_python(name: WheelName, machine: Machine) -> bool:
    """Does the wheel fit the machine's Python?"""
    return _fits(name.pythons, name.abi, machine.python_release, machine.free_threaded)


def fits_platform(name: WheelName, machine: Machine) -> bool:
    """Does the wheel fit the machine's system, processor and C library?"""
    return not _platforms(machine.platform, machine.glibc or NEWEST_GLIBC).isdisjoint(name.platforms)


def fits_but_for_glibc(name: WheelName, machine: Machine) -> bool:
    """Would the wheel fit if the C library were newer?"""
    return not _platforms(machine.platform, NEWEST_GLIBC).isdisjoint(name.platforms)


def accepts(python: tuple[int, int], free_threaded: bool, platform: str, tags: Iterable[str]) -> bool | None:
    """Does a CPython (3, 12) on "win_amd64" or "linux_x86_64" accept a wheel with any of these tags?

    The version of the C library is ignored: an installed package has found its own. None: there is no tag, or an
    invalid one.
    """
    try:
        parsed = [tag for text in tags for tag in parse_tag(text)]
    except ValueError:
        return None
    pythons, platforms = _pythons(python, free_threaded), ("any", platform)
    return (
        any(
            (tag.interpreter, tag.abi) in pythons and LIBC.sub("linux_", tag.platform) in platforms
            for tag in parsed
        )
        if parsed
        else None
    )


def is_native(tags: Iterable[str]) -> bool:
    """Do the tags say that the wheel contains compiled code?"""
    return any(not tag.endswith("-any") for tag in tags)


@lru_cache(1024)
def _fits(pythons: tuple[str, ...], abi: str, python: tuple[int, int], free_threaded: bool) -> bool:
    return not _pythons(python, free_threaded).isdisjoint((each, abi) for each in pythons)


@cache
def _pythons(python: tuple[int, int], free_threaded: bool) -> frozenset[tuple[str, str]]:
    """Return pairs of interpreter and ABI: ("cp312", "cp312"), ("cp39", "abi3"), ("py3", "none")."""
    interpreter = f"cp{python[0]}{python[1]}"
    tags = (
        *cpython_tags(python, abis=[interpreter + "t" * free_threaded], platforms=["any"]),
        *compatible_tags(python, interpreter=interpreter, platforms=["any"]),
    )
    return frozenset((tag.interpreter, tag.abi) for tag in tags)


@cache
def _platforms(platform: str, glibc: Glibc) -> frozenset[str]:
    system, _, processor = platform.partition("_")
    names = {"any", platform}
    if system == "linux":
        names |= {f"manylinux_2_{minor}_{processor}" for minor in range(5, glibc[1] + 1)}
        names |= {f"{name}_{processor}" for needed, name in LEGACY.items() if needed <= glibc}
    return frozenset(names)
