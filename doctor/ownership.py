"""Refuse to write or remove a file that aios did not write. Its own files are recognized by their first bytes."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from doctor.bounded import read_beginning

HEAD = 1 << 16  # bytes of a file that are read


class ForeignFileError(OSError):
    """The path that aios would write to is a file of another program. The message is a sentence."""


@dataclass(frozen=True)
class Mark:
    """How one kind of file that aios writes is recognized.

    Attributes:
        kind: its name in a message, such as "a log of aios train".
        is_on: whether a file with these first bytes is of this kind. It is not called for an empty file.
    """

    kind: str
    is_on: Callable[[bytes], bool]


LOCK = Mark("an empty lock file", lambda head: False)
HOLDER = Mark("a note of aios on who holds a lock", lambda head: head.startswith(b"process "))


def require_ours(path: Path, mark: Mark) -> None:
    """Raise ForeignFileError unless `path` does not exist, is an empty regular file, or has the mark.

    A link is always refused, because what is written would go elsewhere. Raises OSError if the file cannot be read.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise ForeignFileError(f"{path.absolute()} is a link, not {mark.kind}. It was left unchanged")
    if not stat.S_ISREG(status.st_mode):
        raise ForeignFileError(f"{path.absolute()} is not a regular file. It was left unchanged")
    if status.st_size == 0:
        return
    if not mark.is_on(read_beginning(path, HEAD)):
        raise ForeignFileError(
            f"{path.absolute()} exists and is not {mark.kind}. It was left unchanged: rename it, or choose another path"
        )
