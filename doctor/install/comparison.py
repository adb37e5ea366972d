"""Compare an environment with what an installation left there, because later changes must not be overwritten.

Files of the new wheels are recognized by their size and CRC-32 in the wheel, files of the replaced versions by their backup.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from doctor.bounded import open_regular
from doctor.install.affected_files import SCRIPT_ENDINGS
from doctor.install.install_record import Change, InstallRun, Record
from wheels.compatibility import parse_version

BLOCK = 1 << 20
# Files that pip writes itself, in the metadata folder
BY_PIP = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})


def lost_backup(record: Record) -> str | None:
    """Why the previous versions cannot be restored, as a clause: the backup or a part of it is missing. None: they can."""
    store = Path(record.store)
    if not store.is_dir():
        return f"its backup {store} is gone: the folder was deleted, or the environment was recreated"
    for path, name in record.kept:
        if not os.path.lexists(store / name):
            return f"its backup {store} is incomplete: the copy of {path} is missing"
    return None


def edited(record: Record) -> Path | None:
    """The first file of the new wheels whose content differs from the wheel; deleted files do not count."""
    return next(
        (path for path, content in _of_wheels(record) if _content_of(path) not in (None, content)), None
    )


def changed_since(run: InstallRun, change: Change) -> str | None:
    """How a package changed since the interrupted installation, as a clause about it. None: it did not."""
    ours = {_normalized(version) for version in (change.before, change.after) if version}
    for version in _versions(Path(run.record.site_packages), change.name):
        if _normalized(version) not in ours:
            return f"is now {version}, which this installation did not install"
    known, kept = dict(_of_wheels(run.record)), dict(run.record.kept)
    for path in map(Path, change.files):
        if path.is_dir() or not os.path.lexists(path) or _by_pip(path):
            continue
        is_new = (content := known.get(path)) and _is_part_of(path, content)
        if not is_new and not _is_kept(path, kept.get(str(path)), run):
            return f"has {path}, which this installation did not write"
    return None


def _versions(folder: Path, name: str) -> Iterator[str]:
    """The versions of a package with a metadata folder here, complete or not."""
    for path in sorted(folder.glob("*.dist-info")):
        found, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        if canonicalize_name(found) == canonicalize_name(name):
            yield version


def _normalized(version: str) -> str:
    parsed = parse_version(version)
    return str(parsed) if parsed else version


def unfinished(run: InstallRun, change: Change) -> Iterator[Path]:
    """Files that are shorter than in the wheel: pip was killed while it wrote them, or the user changed them."""
    known, kept = dict(_of_wheels(run.record)), dict(run.record.kept)
    for path in map(Path, change.files):
        now, content = _content_of(path), known.get(path)
        is_shorter = now and content and 0 < now[0] < content[0]
        if is_shorter and not _is_kept(path, kept.get(str(path)), run):
            yield path


def _of_wheels(record: Record) -> Iterator[tuple[Path, tuple[int, int]]]:
    return ((Path(path), (size, crc)) for path, size, crc in record.contents if not _by_pip(Path(path)))


def _by_pip(path: Path) -> bool:
    """Whether pip creates or changes this file, so that it differs from the wheel."""
    in_metadata = path.parent.name.endswith(".dist-info") and path.name in BY_PIP
    return (
        in_metadata or path.parent.name in ("bin", "Scripts") or path.suffix in (".pyc", *SCRIPT_ENDINGS[1:])
    )


def _is_part_of(path: Path, content: tuple[int, int]) -> bool:
    now = _content_of(path)
    return now is not None and (now == content or now[0] < content[0])


def _is_kept(path: Path, name: str | None, run: InstallRun) -> bool:
    if name is None:
        return False
    copy = Path(run.record.store, name)
    if path.is_symlink() or copy.is_symlink():
        return path.is_symlink() and copy.is_symlink() and path.readlink() == copy.readlink()
    try:
        return path.samefile(copy) or _content_of(path) == _content_of(copy)
    except OSError:
        return False


def _content_of(path: Path) -> tuple[int, int] | None:
    """The size and the CRC-32 of a file; None if there is none. Raises OSError if it cannot be read."""
    try:
        with open_regular(path) as file:
            size = crc = 0
            while block := file.read(BLOCK):
                size, crc = size + len(block), zlib.crc32(block, crc)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return size, crc
