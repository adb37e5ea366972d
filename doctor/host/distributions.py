"""Installed Python distributions, from their metadata alone: nothing is imported."""

from __future__ import annotations

import email
import importlib.metadata
import json
import sys
from pathlib import Path

from doctor.host.base import Distribution
from doctor.host.readings import Absent, Found, Reading, Unreadable

METADATA_FILES = ("METADATA", "PKG-INFO", "")  # of a wheel, of an egg-info folder, of an egg-info file


def read_distribution(name: str) -> Reading[Distribution]:
    """What this interpreter would import as `name`.

    The current directory does not count: inside a source checkout of flash-attn, flash-attn is not thereby installed.
    """
    try:
        here = _current_folder()
        path = [entry for entry in sys.path if entry and Path(entry) != here]
        found = next(iter(importlib.metadata.distributions(name=name, path=path)), None)
        return Absent() if found is None else _read(found)
    except (OSError, ValueError, AttributeError) as error:
        return Unreadable(f"the metadata of {name} is damaged: {error}")


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # removed under our feet
        return None


def _read(found: importlib.metadata.Distribution) -> Reading[Distribution]:
    location = str(found.locate_file(""))
    metadata = email.message_from_string(next(filter(None, map(found.read_text, METADATA_FILES)), ""))
    if metadata["Name"] is None or metadata["Version"] is None:
        return Unreadable(f"its metadata in {location} has no name or version: a broken installation")
    direct_url = json.loads(found.read_text("direct_url.json") or "{}").get("url")
    return Found(
        Distribution(
            name=metadata["Name"], version=metadata["Version"], location=location, direct_url=direct_url
        )
    )
