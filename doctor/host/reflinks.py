"""Reflinks: copies that share their blocks with the original until one of the two is written."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from doctor.bounded import open_regular

FICLONE = 0x40049409  # of <linux/fs.h>: btrfs, XFS, bcachefs, overlayfs on them


def make_reflink(path: Path, copy: Path) -> bool:
    """Make `copy` a reflink of a file. False: not supported here; `copy` does not exist then."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        with open_regular(path) as source, copy.open("xb") as target:
            fcntl.ioctl(target, FICLONE, source.fileno())
        return True
    except OSError:
        with suppress(OSError):
            copy.unlink()
        return False
