"""Whether aios may write or remove a file: nothing is there, or what is there bears the mark of aios."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEAD = 1 << 16  # bytes of a file that show its mark


class ForeignFileError(OSError):
    """A file that aios did not write stands where aios would write. The message is a sentence."""


@dataclass(frozen=True)
class Mark:
    """How a kind of file that aios writes is recognized.

    Attributes:
        kind: its name in a message, such as "a log of aios train".
        is_on: whether the first bytes of a file are those of this kind. An empty file needs no mark.
    """

    kind: str
    is_on: Callable[[bytes], bool]


LOCK = Mark("an empty lock file", lambda head: False)
HOLDER = Mark("a note of aios on who holds a lock", lambda head: head.startswith(b"process "))


def require_ours(path: Path, mark: Mark) -> None:
    """Raise ForeignFileError unless nothing is at `path`, or a regular file that is empty or bears the mark.

    A link is never ours: what is written would go elsewhere. Raises OSError if the file cannot be read.
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
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not mark.is_on(head):
        raise ForeignFileError(
            f"{path.absolute()} exists and is not {mark.kind}. It was left unchanged: rename it, or choose another path"
        )
