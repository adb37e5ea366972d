"""Fixes of paths and settings on the live registry, each undone: PATH, cache folders, developer mode, Python's encoding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wine.windows_box import REG_DWORD, REG_EXPAND_SZ, REG_SZ, Aios, Completed, Registry, Windows

pytestmark = pytest.mark.wine

USER = r"HKCU\Environment"
DEVELOPER = (
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\AppModelUnlock",
    "AllowDevelopmentWithoutDevLicense",
)
BOX = [r"C:\Python311", r"C:\git\cmd"]  # nothing starts without these
TOOLS = [rf"%SystemRoot%\system32\tools\of a vendor {number:02}\bin" for number in range(70)]


def finding(done: Completed, check: str) -> Any:
    return next(found for found in json.loads(done.stdout)["findings"] if found["check"] == check)


def look(aios: Aios, check: str, **options: Any) -> Any:
    return finding(aios("doctor", "--json", "--only", check, **options), check)


def fix(aios: Aios, check: str, **options: Any) -> Completed:
    return aios("doctor", "--fix", "--yes", "--json", "--only", check, **options)


@pytest.fixture(autouse=True)
def box(windows: Windows) -> None:
    if not windows.is_wine:
        pytest.skip("a real user's PATH, caches and settings are not changed")


@pytest.mark.parametrize("type_", ["REG_EXPAND_SZ", pytest.param("REG_SZ", marks=pytest.mark.long)])
def test_duplicates_in_a_path_of_9000_characters_are_removed_and_restored(
    aios: Aios, registry: Registry, type_: str
) -> None:
    tools = TOOLS if type_ == "REG_EXPAND_SZ" else [t.replace("%SystemRoot%", r"C:\windows") for t in TOOLS]
    long = ";".join([*BOX, *tools, *(f"{tool.upper()}\\" for tool in tools), *tools])
    assert 9000 < len(long) < 12000
    before = registry.change((USER, "PATH", type_, long))

    found = look(aios, "path-variable")
    assert found["status"] == "error"
    assert found["fix"]["applicability"] == "safe"
    aios("doctor", "fix", "path-variable", "--dry-run")
    assert registry.snapshot() == before

    fixed = fix(aios, "path-variable")
    number = {"REG_SZ": REG_SZ, "REG_EXPAND_SZ": REG_EXPAND_SZ}[type_]
    assert registry.value(USER, "PATH") == [number, ";".join([*BOX, *tools])], "order and type kept"
    assert finding(fixed, "path-variable")["status"] == "ok", "this process has the shorter one, too"
    assert fixed.returncode == 0
    healed = registry.snapshot()
    assert look(aios, "path-variable")["status"] == "ok"
    assert fix(aios, "path-variable").returncode == 0
    assert registry.snapshot() == healed

    assert aios("doctor", "undo").returncode == 0
    assert registry.snapshot() == before


def test_caches_of_a_user_with_accents_are_moved_and_restored(
    aios: Aios, registry: Registry, windows: Windows
) -> None:
    root = windows.user_folder().parents[1] / "aios-cache"
    assert not root.exists()
    before = registry.change(
        (USER, "OneDrive", "REG_EXPAND_SZ", r"%USERPROFILE%\OneDrive"),
        (USER, "HF_HOME", "REG_EXPAND_SZ", r"%USERPROFILE%\OneDrive\models"),
    )
    assert look(aios, "cache-folders")["status"] == "warning"

    fixed = fix(aios, "cache-folders")
    assert finding(fixed, "cache-folders")["status"] == "ok"
    assert fixed.returncode == 0
    assert registry.value(USER, "HF_HOME") == [REG_EXPAND_SZ, r"C:\aios-cache\huggingface"], "type kept"
    for name, folder in (("TRITON_CACHE_DIR", "triton"), ("TORCHINDUCTOR_CACHE_DIR", "torchinductor")):
        assert registry.value(USER, name) == [REG_SZ, rf"C:\aios-cache\{folder}"]
    assert {folder.name for folder in root.iterdir()} == {"huggingface", "triton", "torchinductor"}
    healed = registry.snapshot()
    assert look(aios, "cache-folders")["status"] == "ok", "and so has the next program"
    assert fix(aios, "cache-folders").returncode == 0
    assert registry.snapshot() == healed

    assert aios("doctor", "undo").returncode == 0
    assert registry.snapshot() == before
    assert not root.exists()


def test_a_cache_in_use_at_undo_is_kept(aios: Aios, registry: Registry, windows: Windows) -> None:
    root = windows.user_folder().parents[1] / "aios-cache"
    before = registry.snapshot()
    assert fix(aios, "cache-folders").returncode == 0
    kernel = root / "triton" / "kernel.bin"
    kernel.write_bytes(b"made since")
    try:
        assert aios("doctor", "undo").returncode != 0, "it reports that a folder is left"
        assert kernel.read_bytes() == b"made since"
        assert registry.snapshot() == before, "the variables are restored in any case"
    finally:
        kernel.unlink()
        for folder in sorted(root.rglob("*"), reverse=True):
            folder.rmdir()
        root.rmdir()


def test_developer_mode_is_enabled_if_named_and_restored(aios: Aios, registry: Registry) -> None:
    before = registry.change((*DEVELOPER, "REG_DWORD", 0))
    assert look(aios, "developer-mode")["status"] == "info"
    assert aios("doctor", "fix", "developer-mode", "--yes").returncode == 0
    assert registry.value(*DEVELOPER) == [REG_DWORD, 1]
    assert look(aios, "developer-mode")["status"] == "ok"
    assert aios("doctor", "undo").returncode == 0
    assert registry.snapshot() == before


def test_developer_mode_stays_off_without_administrator_rights(aios: Aios, registry: Registry) -> None:
    before = registry.change((*DEVELOPER, "REG_DWORD", 0))
    done = aios("doctor", "fix", "developer-mode", "--yes", admin=False)
    assert b"administrator" in done.stdout
    assert registry.snapshot() == before


def test_python_is_set_to_utf_8_if_named(aios: Aios, registry: Registry) -> None:
    before = registry.snapshot()
    assert look(aios, "console-encoding")["status"] == "warning"
    assert aios("doctor", "fix", "console-encoding", "--yes").returncode == 0
    assert registry.value(USER, "PYTHONUTF8") == [REG_SZ, "1"]
    assert look(aios, "console-encoding")["status"] == "ok"
    assert aios("doctor", "undo").returncode == 0
    assert registry.snapshot() == before
