"""The catalogue of published wheels: the shipped one and what `aios wheels refresh` added. Not a fact about the machine."""

from __future__ import annotations

from pathlib import Path

from doctor.aios_home import state_folder
from doctor.bounded import read_bytes
from doctor.check import Probe
from doctor.host import Reader
from wheels.catalogue import Catalogue, CatalogueError, read_catalogue, shipped_catalogue
from wheels.publisher_lists import merge


def refreshed_catalogue(host: Reader) -> Path:
    """The file that `aios wheels refresh` writes."""
    return state_folder(host) / "catalogue.json"


def known_wheels(host: Reader) -> Catalogue:
    """Merge the shipped and the refreshed catalogue. Raises CatalogueError if the refreshed one is damaged."""
    path = refreshed_catalogue(host)
    shipped = shipped_catalogue()
    if not path.exists():
        return shipped
    refreshed = read_catalogue(path, read_bytes)
    if refreshed.includes == shipped.as_of:
        return refreshed
    return merge(shipped, refreshed).catalogue


def _wheels(host: Reader) -> Catalogue:
    try:
        return known_wheels(host)
    except CatalogueError:  # `aios wheels` and `aios install` report it
        return shipped_catalogue()


WHEELS = Probe("wheels", _wheels)
