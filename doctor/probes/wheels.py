"""The published wheels that the advice is made from: knowledge of this user's, and no fact of a machine."""

from __future__ import annotations

from doctor.catalogue import known_wheels
from doctor.check import Probe
from doctor.host import Host
from wheels.catalogue import Catalogue, CatalogueError, shipped_catalogue


def _wheels(host: Host) -> Catalogue:
    try:
        return known_wheels(host)
    except CatalogueError:  # `aios wheels` and `aios install` say so
        return shipped_catalogue()


WHEELS = Probe("wheels", _wheels)
