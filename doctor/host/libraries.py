"""The compiled libraries below a folder, found without reading any file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from doctor.host.readings import Absent, Found, Reading, Unreadable, as_unicode

LIBRARY = re.compile(r".+\.(?:pyd|dll|so(?:\.\d+)*)", re.IGNORECASE)
WITHOUT_LIBRARIES = {"__pycache__", "include"}  # thousands of files in large packages
DEEPEST = 8  # folders below the first one
MOST_ENTRIES = 500_000  # ten times as many as a large environment has


class TooManyError(ValueError):
    """The folder holds more than `MOST_ENTRIES` files and folders."""


def read_libraries(folder: str, without: Collection[str]) -> Reading[tuple[str, ...]]:
    """Return the libraries below `folder`, as relative paths with slashes, sorted; links to folders are not followed.

    Args:
        without: names in `folder` that are not entered.
    """
    try:
        return Found(tuple(sorted(map(as_unicode, _walk(folder, without)))))
    except FileNotFoundError:
        return Absent()
    except (OSError, ValueError) as error:
        return Unreadable.because(error)


def _walk(folder: str, without: Collection[str]) -> Iterator[str]:
    """Yield relative paths. A folder below the first one that cannot be listed holds nothing that Python could import."""
    waiting, entries = [("", 0)], 0
    while waiting:
        inside, depth = waiting.pop()
        try:
            listed = os.scandir(os.path.join(folder, inside))  # noqa: PTH118 - thousands of folders
        except OSError:
            if not inside:
                raise
            continue
        with listed:
            for entry in listed:
                entries += 1
                if entries > MOST_ENTRIES:
                    raise TooManyError(f"it holds more than {MOST_ENTRIES:,} files and folders")
                name = entry.name
                if LIBRARY.fullmatch(name):
                    yield inside + name
                elif (
                    depth < DEEPEST
                    and name not in WITHOUT_LIBRARIES
                    and not name.endswith(".dist-info")
                    and (inside or name not in without)
                    and entry.is_dir(follow_symlinks=False)
                ):
                    waiting.append((f"{inside}{name}/", depth + 1))
