"""Write a catalogue for a test, where `aios wheels refresh` writes it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from tests.doctor.install.loopback import Server
from tests.doctor.install.stand_ins import sha256
from wheels.catalogue import shipped_catalogue


def publish(state: Path, server: Server, wheels: Collection[Path], *, hashed: bool = True) -> None:
    """Make the server's files/ the only publisher of these wheels; `hashed`: the catalogue has their hash and size."""
    rows = [
        [wheel.name, 0, "v1", wheel.stat().st_size if hashed else None, sha256(wheel) if hashed else None]
        for wheel in wheels
    ]
    publisher = {
        "id": "test",
        "download": f"{server.address}/files/",
        "releases": f"{server.address}/api/releases",
    }
    catalogue = {
        "schema_version": 1,
        "as_of": "2026-12-31",
        "includes": shipped_catalogue().as_of,  # so it replaces the shipped one
        "publishers": [publisher],
        "wheels": rows,
    }
    state.mkdir(parents=True, exist_ok=True)
    (state / "catalogue.json").write_text(json.dumps(catalogue), encoding="utf-8")
