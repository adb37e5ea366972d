"""Installed packages are read from their metadata; damaged metadata is unreadable."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

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


def test_a_source_checkout_is_not_an_installation(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m aios` in the sources of flash-attn puts their .egg-info on the path."""
    install(tmp_path, "aios_probe-1", {"METADATA": "Name: aios-probe\nVersion: 1\n"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    assert host.distribution("aios-probe") == Absent()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove the current folder of a program")
def test_packages_are_found_although_the_current_folder_was_removed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert isinstance(host.distribution("pydantic"), Found)


# -- all distributions


def found_names(host: Host) -> list[str]:
    reading = host.distributions()
    assert isinstance(reading, Found)
    return [distribution.name for distribution in reading.value]


def test_all_installed_distributions_are_found(host: Host) -> None:
    known = {canonicalize_name(found.name) for found in importlib.metadata.distributions()}
    assert {canonicalize_name(name) for name in found_names(host)} == known


def test_requirements_and_wheel_tags(host: Host, site: Path) -> None:
    metadata = """Metadata-Version: 2.4
Name: aios-probe
Version: 1
Requires-Dist: torch (==2.9.1)
Requires-Dist: triton-windows>=3.5;
 sys_platform == "win32"

Requires-Dist: not-in-the-header
"""
    wheel = "Wheel-Version: 1.0\nTag: cp312-cp312-win_amd64\nTag: py3-none-any\n"
    install(site, "aios_probe-1", {"METADATA": metadata, "WHEEL": wheel})
    reading = host.distribution("aios-probe")
    assert isinstance(reading, Found)
    assert reading.value.requires == ("torch (==2.9.1)", 'triton-windows>=3.5; sys_platform == "win32"')
    assert reading.value.wheel_tags == ("cp312-cp312-win_amd64", "py3-none-any")
    all_of_them = host.distributions()
    assert isinstance(all_of_them, Found) and reading.value in all_of_them.value


def test_a_damaged_distribution_does_not_hide_others(host: Host, site: Path) -> None:
    good = {"METADATA": "Metadata-Version: 2.1\nName: aios-good\nVersion: 1\n"}
    install(site, "aios_empty-1", {})
    install(site, "aios_none-1", {"METADATA": ""})
    install(site, "aios_json-1", {"METADATA": "Name: aios-json\nVersion: 1\n", "direct_url.json": "{"})
    nested = {"METADATA": "Name: aios-nested\nVersion: 1\n", "direct_url.json": "[" * 100_000}
    install(site, "aios_nested-1", nested)
    install(site, "aios_z-1", good)
    (site / "aios_bytes-1.dist-info").mkdir()
    (site / "aios_bytes-1.dist-info" / "METADATA").write_bytes(b"Name: aios-bytes\nVersion: \xff\n")
    (site / "aios_file.dist-info").write_bytes(b"")
    assert set(found_names(host)) & {
        "aios-empty",
        "aios-none",
        "aios-json",
        "aios-nested",
        "aios-bytes",
        "aios-good",
    } == {"aios-good"}


def test_a_distribution_that_pip_was_removing_is_not_installed(host: Host, site: Path) -> None:
    install(site, "~ios_probe-1", {"METADATA": "Metadata-Version: 2.1\nName: aios-probe\nVersion: 1\n"})
    assert "aios-probe" not in found_names(host)


def test_the_first_distribution_on_the_path_is_used(
    host: Host, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "aios_probe-2", {"METADATA": "Metadata-Version: 2.1\nName: aios.Probe\nVersion: 2\n"})
    other = tmp_path / "other"
    install(other, "aios_probe-1", {"METADATA": "Metadata-Version: 2.1\nName: aios-probe\nVersion: 1\n"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(other), str(tmp_path / "gone")])
    reading = host.distributions()
    assert isinstance(reading, Found)
    versions = [d.version for d in reading.value if d.name.casefold().startswith("aios")]
    assert versions.count("2") == 1 and "1" not in versions


def test_three_small_files_of_each_distribution_are_read_once(
    host: Host, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RECORD and the modules are not read: an environment with hundreds of packages has many megabytes of them."""
    reads: Counter[tuple[str, str]] = Counter()
    read_text = importlib.metadata.PathDistribution.read_text

    def counted(self: importlib.metadata.PathDistribution, filename: str) -> str | None:
        reads[Path(str(self._path)).name, filename] += 1
        return read_text(self, filename)

    monkeypatch.setattr(importlib.metadata.PathDistribution, "read_text", counted)

    for number in range(3):
        metadata = f"Metadata-Version: 2.1\nName: aios-p{number}\nVersion: 1\n"
        install(site, f"aios_p{number}-1", {"METADATA": metadata, "RECORD": "x\n"})
    assert {"aios-p0", "aios-p1", "aios-p2"} <= set(found_names(host))
    assert {key: count for key, count in reads.items() if key[0].startswith("aios_p")} == {
        (f"aios_p{number}-1.dist-info", file): 1
        for number in range(3)
        for file in ("METADATA", "direct_url.json", "WHEEL")
    }
