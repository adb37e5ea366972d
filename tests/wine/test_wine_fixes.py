"""Fixes on the live registry: planned, applied, verified, applied again and undone, as administrator and as ordinary user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.wine.windows_box import (
    LONG_PATHS,
    REG_DWORD,
    REG_EXPAND_SZ,
    REG_SZ,
    Aios,
    Completed,
    Registry,
    Windows,
)

pytestmark = pytest.mark.wine

HKLM_AS_ON_WINDOWS = "D:(A;CI;KR;;;BU)(A;CI;KA;;;BA)(A;CI;KA;;;SY)"
NOBODY_READS = "D:(A;;WDRC;;;BA)"
FIX_FAILED = 4


def finding(done: Completed, check: str) -> Any:
    return next(found for found in json.loads(done.stdout)["findings"] if found["check"] == check)


def look(aios: Aios, check: str, **options: Any) -> Any:
    return finding(aios("doctor", "--json", "--only", check, **options), check)


FAULTS = {
    "absent": (None, None),
    "zero": ("REG_DWORD", 0),
    "wrong-type": ("REG_SZ", "1"),
}


@pytest.mark.parametrize("fault", ["absent", pytest.param("zero", marks=pytest.mark.long), "wrong-type"])
def test_long_paths_are_enabled_and_restored_exactly(aios: Aios, registry: Registry, fault: str) -> None:
    kind, data = FAULTS[fault]
    before = registry.change((*LONG_PATHS, kind, data))

    found = look(aios, "long-paths")
    assert found["status"] == "error"
    assert found["fix"]["elevated"] and found["fix"]["actions"]

    planned = aios("doctor", "--fix", "--dry-run", "--only", "long-paths")
    assert registry.snapshot() == before, "a dry run changes nothing"
    assert b"LongPathsEnabled" in planned.stdout

    fixed = aios("doctor", "--fix", "--yes", "--json", "--only", "long-paths")
    assert registry.value(*LONG_PATHS) == [REG_DWORD, 1]
    assert finding(fixed, "long-paths")["status"] == "ok"
    assert fixed.returncode == 0

    enabled = registry.snapshot()
    assert aios("doctor", "--fix", "--yes", "--only", "long-paths").returncode == 0
    assert registry.snapshot() == enabled, "a second fix changes nothing"

    assert aios("doctor", "undo").returncode == 0
    assert registry.snapshot() == before
    assert look(aios, "long-paths")["status"] == "error"


def test_an_unreadable_setting_is_unknown_and_not_changed(
    aios: Aios, registry: Registry, windows: Windows
) -> None:
    if not windows.is_wine:
        pytest.skip("only the HKLM of the Wine box is locked for a test")
    key, name = LONG_PATHS
    registry.change((key, name, "SDDL", NOBODY_READS))
    try:
        done = aios("doctor", "--json", "--only", "long-paths")
        assert finding(done, "long-paths")["status"] == "unknown"
        assert done.returncode == 3
        assert aios("doctor", "--fix", "--yes", "--only", "long-paths").returncode == 3
    finally:
        registry.change((key, name, "SDDL", HKLM_AS_ON_WINDOWS))


def test_a_value_that_someone_else_changed_is_not_undone(aios: Aios, registry: Registry) -> None:
    registry.change((*LONG_PATHS, "REG_DWORD", 0))
    assert aios("doctor", "--fix", "--yes", "--only", "long-paths").returncode == 0
    registry.change((*LONG_PATHS, "REG_DWORD", 7))
    assert aios("doctor", "undo").returncode == FIX_FAILED
    assert registry.value(*LONG_PATHS) == [REG_DWORD, 7]


def test_without_administrator_rights_the_finding_stays_open(aios: Aios, registry: Registry) -> None:
    """Elevation is requested, but Wine starts the program without more rights, as Windows does after a "no"."""
    before = registry.change((*LONG_PATHS, None, None))
    done = aios("doctor", "--fix", "--yes", "--json", "--only", "long-paths", admin=False)
    assert finding(done, "long-paths")["status"] == "error"
    assert done.returncode == FIX_FAILED
    assert b"had no administrator rights" in done.stderr
    assert registry.snapshot() == before


def test_a_refused_elevation_does_not_stop_the_other_fixes(
    aios: Aios, registry: Registry, temp: Path, git_configuration: Path
) -> None:
    before = registry.change((*LONG_PATHS, None, None))
    only = ["--only", "long-paths", "--only", "temp-dir", "--only", "git-long-paths"]
    done = aios("doctor", "--fix", "--yes", "--json", *only, admin=False)
    assert finding(done, "long-paths")["status"] == "error"
    assert finding(done, "temp-dir")["status"] == "ok"
    assert finding(done, "git-long-paths")["status"] == "ok"
    assert aios("doctor", "undo", admin=False).returncode == 0
    assert registry.snapshot() == before


@pytest.fixture
def temp(registry: Registry, windows: Windows) -> Path:
    """`C:\\Temp`, which does not exist; TEMP is below the user's folder, with its space and non-ASCII letters."""
    if not windows.is_wine:
        pytest.skip("a real user's C:\\Temp and TEMP are not changed")
    drive_c = windows.user_folder().parents[1]
    assert not (drive_c / "Temp").exists()
    return drive_c / "Temp"


def test_temp_is_moved_and_restored(aios: Aios, registry: Registry, temp: Path) -> None:
    before = registry.snapshot()
    assert look(aios, "temp-dir")["status"] == "warning"
    fixed = aios("doctor", "--fix", "--yes", "--json", "--only", "temp-dir")
    assert finding(fixed, "temp-dir")["status"] == "ok", "children of the running process have it too"
    assert fixed.returncode == 0
    assert temp.is_dir()
    for name in ("TEMP", "TMP"):
        kind, data = registry.value(r"HKCU\Environment", name) or [None, None]
        assert (kind, str(data).lower()) in {(REG_SZ, r"c:\temp"), (REG_EXPAND_SZ, r"c:\temp")}
    assert look(aios, "temp-dir")["status"] == "ok", "and so has the next program"
    enabled = registry.snapshot()
    assert aios("doctor", "--fix", "--yes", "--only", "temp-dir").returncode == 0
    assert registry.snapshot() == enabled
    assert aios("doctor", "undo").returncode == 0
    assert registry.snapshot() == before
    assert not temp.exists()


@pytest.fixture
def git_configuration(windows: Windows) -> Path:
    """The user's git configuration, which does not exist."""
    if not windows.is_wine:
        pytest.skip("a real user's git configuration is not changed")
    file = windows.user_folder() / ".gitconfig"
    file.unlink(missing_ok=True)
    return file


def test_git_is_set_to_use_long_paths_and_restored(
    aios: Aios, windows: Windows, git_configuration: Path
) -> None:
    git_configuration.write_bytes(b"[user]\n\tname = Zo\xc3\xab\n")
    before = git_configuration.read_bytes()
    assert look(aios, "git-long-paths")["status"] == "warning"
    fixed = aios("doctor", "--fix", "--yes", "--json", "--only", "git-long-paths")
    assert finding(fixed, "git-long-paths")["status"] == "ok"
    assert fixed.returncode == 0
    asked = windows.run(["git", "config", "--global", "core.longpaths"])
    assert asked.stdout.strip() == b"true", "git for Windows reads the same value"
    assert aios("doctor", "undo").returncode == 0
    assert windows.run(["git", "config", "--global", "core.longpaths"]).returncode == 1
    assert git_configuration.read_bytes() == before
    git_configuration.unlink()
