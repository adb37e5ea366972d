"""Files of the packages that `aios guard` protects: listed, copied and compared.

Paths are strings, because an environment has tens of thousands of them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from doctor.bounded import read_bytes, read_rows
from doctor.host import Distribution
from doctor.host.reflinks import make_reflink
from doctor.install.affected_files import metadata_folder

METADATA, BYTECODE = ".dist-info", ".pyc"
LARGEST_FILE = 8 << 30  # bytes of an installed file
Stamp = tuple[int, int, int, int]  # inode, size, time of modification, time of change


def recorded_files(packages: Mapping[str, Distribution]) -> Iterator[tuple[str, str | None, str]]:
    """Yield each file in a RECORD with its SHA-256 (urlsafe base64) and its package."""
    for name, each in packages.items():
        folder = metadata_folder(each)
        if folder is None or not (folder / "RECORD").is_file():
            continue
        for row in read_rows(folder / "RECORD"):
            if row:
                digest = row[1] if len(row) > 1 else ""
                yield _installed_at(each.location, row[0]), digest.removeprefix("sha256=") or None, name


def _installed_at(location: str, name: str) -> str:
    """The path of a file in a RECORD. Most names need no normalization, which is slow for so many."""
    if "./" in name or name.startswith("/") or os.sep != "/":
        return os.path.normpath(os.path.join(location, name))  # noqa: PTH118
    return f"{location}{os.sep}{name}"


def files_around(
    names: Collection[str], locations: Collection[Path], files: Collection[str]
) -> frozenset[str]:
    """Every file in the package folders of these files, in pip's leftovers and in the metadata of these packages."""
    found: set[str] = set()
    for location in locations:
        start = f"{location}{os.sep}"
        tops = {path[len(start) :].partition(os.sep)[0] for path in files if path.startswith(start)}
        spelled = "|".join(re.sub(r"[-_.]+", "[-_.]", name) for name in names)
        own = re.compile(rf"~?(?:{spelled})-\d.*\.(?:dist|egg)-info", re.IGNORECASE)
        for entry in os.scandir(location):
            if entry.is_dir(follow_symlinks=False) and (entry.name in tops or own.fullmatch(entry.name)):
                for folder, _, inside in os.walk(entry.path):
                    found.update(f"{folder}{os.sep}{name}" for name in inside)
    return frozenset(found)


def stamp(path: str) -> Stamp:
    """The state of a file without its content. Raises OSError."""
    found = os.lstat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns if os.name != "nt" else 0


def existing(recorded: Collection[str], around: Collection[str]) -> list[str]:
    """Return the recorded files that exist, their bytecode, and their metadata, sorted."""
    folders = {os.path.dirname(path) for path in recorded}  # noqa: PTH120
    beside = (
        path
        for path in around
        if METADATA in path or (path.endswith(BYTECODE) and os.path.dirname(os.path.dirname(path)) in folders)  # noqa: PTH120
    )
    return sorted(path for path in {*recorded, *beside} if path in around or os.path.lexists(path))


def keep_files(files: Collection[str], store: Path) -> bool:
    """Copy or link each file to its number in `store`. Return whether all copies are independent of the files. Raises OSError."""
    cloned = True
    for number, path in enumerate(files):
        copy = f"{store}{os.sep}{number}"
        if METADATA in path or os.path.islink(path):  # noqa: PTH114
            shutil.copy2(path, copy, follow_symlinks=False)
        elif cloned and make_reflink(Path(path), Path(copy)):
            shutil.copystat(path, copy)
        else:
            cloned = False
            try:
                os.link(path, copy)
            except OSError:  # the file system has no hard links
                shutil.copy2(path, copy)
    return cloned


def has_digest(content: bytes, digest: str) -> bool:
    """Whether the content has this digest, written as in a RECORD."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=") == digest


def is_damaged(path: str, digest: str | None) -> bool:
    """Whether a file is missing or does not match its digest."""
    with suppress(OSError):
        return digest is not None and not has_digest(read_bytes(Path(path), LARGEST_FILE), digest)
    return True


def differs(path: str, before: Stamp, digest: str | None) -> bool:
    """Whether a file was replaced or changed. Another link count alone does not count."""
    if path.endswith(BYTECODE):  # Python may rewrite it
        return False
    try:
        now = stamp(path)
    except OSError:
        return True
    if now == before:
        return False
    return is_damaged(path, digest) if digest else now[:3] != before[:3]
