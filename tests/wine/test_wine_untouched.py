"""A diagnosis changes no registry value and no file of Windows except in the doctor's state folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.wine.windows_box import HERE, Aios, Windows, Wine

pytestmark = pytest.mark.wine


def registry_of(windows: Windows) -> dict[str, list[str]]:
    done = windows.run(["python", windows.path(HERE / "registry_walk.py")])
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(line) for line in done.stdout.splitlines())


def files_of(folder: Path, without: Path) -> dict[str, tuple[int, int]]:
    """The size and modification time of every file, and every folder."""
    found = {}
    for path in folder.rglob("*"):
        if path == without or path.is_relative_to(without) or path.is_symlink():
            continue
        state = path.stat()
        found[str(path)] = (state.st_size, state.st_mtime_ns) if path.is_file() else (0, 0)
    return found


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def test_the_doctor_writes_nothing_but_its_state_folder(
    aios: Aios, windows: Windows, workplace: Path
) -> None:
    if not isinstance(windows, Wine):
        pytest.skip("on real Windows other programs write all the time")
    state = workplace / "state"
    assert aios("doctor", "--offline").returncode in (
        0,
        1,
        3,
    )  # compiled modules are written to their caches
    kept = len(list(state.rglob("*")))
    registry, files = registry_of(windows), files_of(windows.box.drive_c, state)
    assert len(registry) > 5000
    assert len(files) > 5000

    assert aios("doctor", "--offline").returncode in (0, 1, 3)

    assert difference(registry, registry_of(windows)) == []
    assert difference(files, files_of(windows.box.drive_c, state)) == []
    assert len(list(state.rglob("*"))) > kept, "it wrote to its own folder"
