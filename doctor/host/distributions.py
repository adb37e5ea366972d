"""Installed Python distributions, from their metadata; nothing is imported."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from doctor.bounded import check, parse_json
from doctor.host.base import Distribution
from doctor.host.readings import Absent, Found, Reading, Unreadable, as_unicode

# Of a wheel, an egg-info folder, an egg-info file
METADATA_FILES = ("METADATA", "PKG-INFO", "")
METADATA_FOLDERS = (".dist-info", ".egg-info")
# Raised for damaged metadata
DAMAGED = (OSError, ValueError, AttributeError)


def read_distribution(name: str, path: Sequence[str] | None = None) -> Reading[Distribution]:
    """Return the distribution `name` that this interpreter would use, or one with the search path `path`."""
    try:
        found = next(iter(importlib.metadata.distributions(name=name, path=_folders(path))), None)
        return Absent() if found is None else _read(found)
    except DAMAGED as error:
        return Unreadable(f"the metadata of {name} is damaged: {error}")


def read_distributions(path: Sequence[str] | None = None) -> Reading[tuple[Distribution, ...]]:
    """Return all distributions that this interpreter would use, or one with the search path `path`.

    They are sorted by name, without those with damaged metadata.
    """
    found: dict[str, Distribution] = {}
    for folder in metadata_folders(path):
        try:
            reading = _read(importlib.metadata.Distribution.at(folder))
        except DAMAGED:
            continue
        if isinstance(reading, Found):  # the first on the path is the one in use
            found.setdefault(canonicalize_name(reading.value.name), reading.value)
    return Found(tuple(distribution for _, distribution in sorted(found.items())))


def _search_path() -> list[str]:
    """sys.path without the current folder: the sources of flash-attn do not count as installed."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # deleted meanwhile
        here = None
    return [entry for entry in sys.path if entry and Path(entry) != here]


def _folders(path: Sequence[str] | None) -> list[str]:
    return _search_path() if path is None else list(path)


def metadata_folders(path: Sequence[str] | None = None) -> Iterator[Path]:
    """Yield the metadata folders of all distributions that this interpreter would import, or one with this `path`."""
    for entry in _folders(path):
        try:
            names = sorted(Path(entry).iterdir())
        except OSError:  # an archive, or a folder that is missing or locked
            continue
        # pip renames what it is about to remove, torch-2.5.dist-info to ~orch-2.5.dist-info
        yield from (p for p in names if p.suffix in METADATA_FOLDERS and not p.name.startswith("~"))


def _read(found: importlib.metadata.Distribution) -> Reading[Distribution]:
    location = as_unicode(str(found.locate_file("")))
    metadata = _headers(next(filter(None, (_text(found, name) for name in METADATA_FILES)), ""))
    if metadata["Name"] is None or metadata["Version"] is None:
        return Unreadable(f"its metadata in {location} has no name or version: the installation is damaged")
    return Found(
        Distribution(
            name=metadata["Name"],
            version=metadata["Version"],
            location=location,
            direct_url=parse_json(_text(found, "direct_url.json") or "{}").get("url"),
            requires=_all(metadata, "Requires-Dist"),
            wheel_tags=_all(_headers(_text(found, "WHEEL")), "Tag"),
        )
    )


def _text(found: importlib.metadata.Distribution, name: str) -> str:
    """The content of a metadata file; empty if there is none. Raises UnreadableFileError, OSError, UnicodeDecodeError."""
    folder = getattr(found, "_path", None)  # importlib has no public name for it
    if isinstance(folder, Path):
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
            check(folder / name)
    return found.read_text(name) or ""


def _headers(text: str) -> Message:
    return HeaderParser().parsestr(text)


def _all(headers: Message, name: str) -> tuple[str, ...]:
    return tuple(" ".join(value.split()) for value in headers.get_all(name, ()))
