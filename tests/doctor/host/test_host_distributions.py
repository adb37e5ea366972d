"""Installed packages are read from their metadata; damaged metadata is neither an installed package nor none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from doctor.host import Absent, Found, Host, Unreadable


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def install(site: Path, name: str, files: dict[str, str]) -> None:
    folder = site / f"{name}.dist-info"
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_text(content, encoding="utf-8", newline="\n")


def test_a_distribution_is_read_from_its_metadata(host: Host, site: Path) -> None:
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: aios-probe\nVersion: 1.2+cu128\n\nText\n",
        "direct_url.json": json.dumps({"url": "https://example.org/x.whl", "archive_info": {}}),
    }
    install(site, "aios_probe-1.2+cu128", files)
    reading = host.distribution("AIOS.probe")
    assert isinstance(reading, Found)
    assert (reading.value.name, reading.value.version) == ("aios-probe", "1.2+cu128")
    assert Path(reading.value.location) == site
    assert reading.value.direct_url == "https://example.org/x.whl"
    assert host.distribution("aios-not-there") == Absent()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"METADATA": ""},
        {"METADATA": "Metadata-Version: 2.1\nName: aios-probe\n"},
        {"METADATA": "Name: aios-probe\nVersion: 1\n", "direct_url.json": "{"},
        {"METADATA": "Name: aios-probe\nVersion: 1\n", "direct_url.json": "[]"},
    ],
)
def test_a_half_removed_distribution_is_unreadable(host: Host, site: Path, files: dict[str, str]) -> None:
    install(site, "aios_probe-1", files)
    assert isinstance(host.distribution("aios-probe"), Unreadable)


def test_a_source_checkout_is_no_installation(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m aios` inside flash-attn's sources puts its .egg-info on the path."""
    install(tmp_path, "aios_probe-1", {"METADATA": "Name: aios-probe\nVersion: 1\n"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    assert host.distribution("aios-probe") == Absent()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that a program is in")
def test_a_current_folder_that_was_removed_damaged_every_package(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert isinstance(host.distribution("pydantic"), Found)
