"""Whether aios' own files are those that were installed, and which other distribution claims them."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from doctor.bounded import read_bytes, read_rows, read_text
from doctor.host.base import Distribution, OwnFiles
from doctor.host.distributions import DAMAGED, metadata_folders, read_distribution
from doctor.host.readings import Found, Reading, Unreadable
from doctor.version import DISTRIBUTION

METADATA_NAME = DISTRIBUTION.replace("-", "_")
PACKAGES = ("aios", "doctor", "gui", "trainer", "wheels")  # what pyproject.toml puts into the distribution
OWN = re.compile(r"^(?:aios\.py|(?:doctor|gui|trainer|wheels)/[^,\n]+)(?=,)", re.MULTILINE)  # in a RECORD


def read_own_files() -> Reading[OwnFiles]:
    """Compare the files of the aios that is running with its RECORD, and with the RECORDs of other distributions."""
    own = read_distribution(DISTRIBUTION)
    if isinstance(own, Unreadable):
        return own
    installed = own.value if isinstance(own, Found) else None
    try:
        rows = list(_recorded_rows(installed)) if installed else []
        folder = Path(installed.location) if installed else Path()
        return Found(
            OwnFiles(
                installed=installed,
                recorded=len(rows),
                changed=tuple(path for path, digest in rows if _sha256(folder / path) != digest),
                elsewhere=_imported_from_elsewhere(Path(__file__).parents[2]),
                claims=dict(_claims()),
            )
        )
    except DAMAGED as error:
        return Unreadable(f"the files of aios cannot be compared with their RECORD: {error}")


def _recorded_rows(installed: Distribution) -> Iterator[tuple[str, str]]:
    """Yield path and hash of each own file. An editable installation records none, and some tools write no RECORD."""
    record = Path(installed.location, f"{METADATA_NAME}-{installed.version}.dist-info", "RECORD")
    if not record.exists():
        return
    for path, digest, *_ in read_rows(record):
        if OWN.match(f"{path},") and digest:
            yield path, digest


def _sha256(path: Path) -> str | None:
    """Return the hash of a file as RECORD spells it; None if the file is missing."""
    try:
        digest = hashlib.sha256(read_bytes(path)).digest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _imported_from_elsewhere(root: Path) -> dict[str, str]:
    """Return import name -> file of those packages that Python would import from another folder than `root`."""
    elsewhere = {}
    for name in PACKAGES:
        spec = PathFinder.find_spec(name, sys.path)
        expected = root / ("aios.py" if name == "aios" else f"{name}/__init__.py")
        if spec and spec.origin and not _same_file(Path(spec.origin), expected):
            elsewhere[name] = spec.origin
    return elsewhere


def _same_file(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))


def _claims() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each other distribution ("trainer 0.0.36") whose RECORD lists files of aios' packages, with these files."""
    for folder in metadata_folders():
        record = folder / "RECORD"
        name, _, version = folder.stem.partition("-")
        if name == METADATA_NAME or not record.is_file():
            continue
        if files := _own_paths(read_text(record, errors="replace")):
            yield f"{name} {version}", files


def _own_paths(record: str) -> tuple[str, ...]:
    return tuple(path for path in OWN.findall(record) if "__pycache__" not in path)
