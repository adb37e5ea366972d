"""Which tags of installed wheels a Python accepts, computed from what it is and not from the one that asks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag


@cache
def _accepted(python: tuple[int, int], free_threaded: bool, platform: str) -> frozenset[Tag]:
    interpreter = f"cp{python[0]}{python[1]}"
    abi = f"{interpreter}t" if free_threaded else interpreter
    return frozenset(
        (
            *cpython_tags(python, abis=[abi], platforms=[platform]),
            *compatible_tags(python, interpreter=interpreter, platforms=[platform]),
        )
    )


def _on_plain_platform(tag: Tag) -> Tag:
    """A package that is installed found its C library: "manylinux_2_28_x86_64" -> "linux_x86_64"."""
    plain = re.sub(r"^(?:many|musl)linux(?:\d+|_\d+_\d+)_", "linux_", tag.platform)
    return Tag(tag.interpreter, tag.abi, plain)


def accepts(python: tuple[int, int], free_threaded: bool, platform: str, tags: Iterable[str]) -> bool | None:
    """Does a CPython (3, 12) on "win_amd64" or "linux_x86_64" accept a wheel with any of these tags?

    None: nobody can tell, since there is no tag or one that is none.
    """
    try:
        parsed = [_on_plain_platform(tag) for text in tags for tag in parse_tag(text)]
    except ValueError:
        return None
    return any(tag in _accepted(python, free_threaded, platform) for tag in parsed) if parsed else None


def is_native(tags: Iterable[str]) -> bool:
    """Is it a wheel with compiled code?"""
    return any(not tag.endswith("-any") for tag in tags)
