"""The catalogue of wheels that counts here: the shipped one, with what `aios wheels refresh` found."""

from __future__ import annotations

from pathlib import Path

from doctor.aios_home import state_folder
from doctor.host import Host
from wheels.catalogue import Catalogue, read_catalogue, shipped_catalogue
from wheels.listing import merge


def refreshed_catalogue(host: Host) -> Path:
    """Where `aios wheels refresh` puts the catalogue with what it found."""
    return state_folder(host) / "catalogue.json"


def known_wheels(host: Host) -> Catalogue:
    """Everything that is known. Raises CatalogueError where what was found by refreshing is damaged."""
    path = refreshed_catalogue(host)
    shipped = shipped_catalogue()
    if not path.exists():
        return shipped
    refreshed = read_catalogue(path)
    if refreshed.as_of > shipped.as_of:  # it was made on the base of this one
        return refreshed
    return merge(shipped, refreshed).catalogue
