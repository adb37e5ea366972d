"""Lists are converted to a catalogue, and catalogues are merged."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from wheels.catalogue import (
    SHIPPED,
    Catalogue,
    CatalogueError,
    read_catalogue,
    shipped_catalogue,
    to_json,
)
from wheels.publisher_lists import ListedWheel, address, make_catalogue, merge

ROOT = Path(__file__).parents[2]
NAME = "flash_attn-2.8.3+cu130torch2.13-cp312-cp312-win_amd64.whl"
DOWNLOAD = "https://github.com/somebody/wheels/releases/download/"
URL = f"{DOWNLOAD}v1/{NAME.replace('+', '%2B')}"


def test_an_address_gives_the_publisher_and_its_release_list() -> None:
    face = f"https://huggingface.co/somebody/wheels/resolve/main/new/{NAME}"
    listed = [
        ListedWheel(NAME, URL),
        ListedWheel(NAME, face),
        ListedWheel(NAME, f"https://other.example/whl/{NAME}"),
        ListedWheel(NAME, None),
    ]
    catalogue = make_catalogue(listed, "2026-11-21")
    publishers = {p.id: (p.download, p.releases, p.files) for p in catalogue.publishers}
    assert publishers == {
        "somebody/wheels": publishers["somebody/wheels"],
        "other.example": ("https://other.example/whl/", None, None),
        "package index": (None, None, None),
    }
    by_address = {wheel.publisher.download: wheel for wheel in catalogue.of("flash-attn")}
    github = by_address[DOWNLOAD]
    assert github.publisher.releases == "https://api.github.com/repos/somebody/wheels/releases"
    assert (github.url, github.folder) == (URL, "v1")
    hugging_face = by_address["https://huggingface.co/somebody/wheels/resolve/main/"]
    assert hugging_face.publisher.files == "https://huggingface.co/api/models/somebody/wheels/tree/main"
    assert hugging_face.folder == "new"


def test_other_packages_and_other_files_are_left_out() -> None:
    other = ["numpy-2.0-cp312-cp312-win_amd64.whl", "flash_attn-2.8.3.tar.gz", "notes.txt", "flash_attn.whl"]
    assert (
        make_catalogue([ListedWheel(name, DOWNLOAD + "v1/" + name) for name in other], "2026-11-21").wheels
        == ()
    )


def test_a_catalogue_merged_with_itself_or_in_parts_is_itself() -> None:
    shipped = shipped_catalogue()
    again = merge(shipped, shipped)
    assert (again.new, again.hashed, again.changed) == (0, 0, ())
    assert set(again.catalogue.wheels) == set(shipped.wheels)
    rows = list(shipped.wheels)
    random.Random(7).shuffle(rows)
    half, rest = (shipped.model_copy(update={"wheels": tuple(part)}) for part in (rows[:2500], rows[1500:]))
    whole = merge(half, rest).catalogue
    assert {address(whole, row) for row in whole.wheels} == {address(shipped, row) for row in rows}
    assert len(whole.wheels) == len(rows)


@pytest.mark.parametrize(
    ("before", "now", "kept", "changed"),
    [
        (None, "a" * 64, "a" * 64, False),
        ("a" * 64, None, "a" * 64, False),
        ("a" * 64, "b" * 64, "a" * 64, True),
    ],
)
def test_the_first_known_hash_is_kept(before: str | None, now: str | None, kept: str, changed: bool) -> None:
    old, new = (
        make_catalogue([ListedWheel(NAME, URL, None, digest)], "2026-11-21") for digest in (before, now)
    )
    merged = merge(old, new)
    assert merged.catalogue.wheels[0][4] == kept
    assert bool(merged.changed) is changed


def test_a_written_catalogue_is_read_back_unchanged() -> None:
    shipped = shipped_catalogue()
    read = Catalogue.model_validate_json(to_json(shipped))
    assert (read.as_of, read.publishers, read.wheels) == (shipped.as_of, shipped.publishers, shipped.wheels)
    assert to_json(shipped) == SHIPPED.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a valid catalogue"),
        ("{", "not a valid catalogue"),
        ('{"as_of": "x", "publishers": []}', "wheels"),
        ('{"as_of": "x", "publishers": [], "wheels": [["a.whl", 0, null, null, null]]}', "publisher"),
        ('{"as_of": "x", "publishers": [], "wheels": [["a.whl", 0, null, null, "short"]]}', "wheels.0.4"),
        ('{"schema_version": 2, "as_of": "x", "publishers": [], "wheels": []}', "schema_version"),
    ],
)
def test_an_invalid_catalogue_file_is_reported_with_its_path(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(file)
    with pytest.raises(CatalogueError, match="cannot be read"):
        read_catalogue(tmp_path)


def test_the_script_reads_lists_tables_and_catalogues(tmp_path: Path) -> None:
    made = make_catalogue(
        [ListedWheel(NAME.replace("cp312", "cp313"), URL.replace("cp312", "cp313"))], "2026-11-20"
    )
    lists = {
        "list.json": {"deep": [{"inside": {"filename": NAME, "url": URL, "sha256": "a" * 64, "url_reconstructed": True}}]},
        "table.json": {"columns": ["url", "size"], "rows": [[URL.replace("torch2.13", "torch2.12"), 7]]},
        "catalogue.json": json.loads(to_json(made)),
    }  # fmt: skip
    for name, content in lists.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    target = tmp_path / "made.json"
    files = [str(tmp_path / name) for name in lists]
    subprocess.run(
        [sys.executable, "scripts/make_catalogue.py", *files, "--as-of", "2026-11-21", "--output", str(target)],
        cwd=ROOT, check=True,
    )  # fmt: skip
    wheels = read_catalogue(target).of("flash-attn")
    assert {(w.name.torch, w.name.pythons[0], w.size, w.sha256, w.publisher.confirmed) for w in wheels} == {
        ("2.13", "cp312", None, "a" * 64, False),
        ("2.12", "cp312", 7, None, True),
        ("2.13", "cp313", None, None, True),
    }
