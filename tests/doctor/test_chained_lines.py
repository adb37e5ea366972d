"""A journal knows whether it is whole: every changed, lost, moved or added line is noticed, and a kill is not damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doctor.chained_lines import Record, append_chained, read_chained

RECORDS: list[Record] = [
    {"event": "intended", "step": "fix/0", "state": {"type": "REG_SZ", "value": "Zoë → {}"}},
    {"event": "done", "step": "fix/0"},
    {"event": "intended", "step": "fix/1"},
    {"event": "ended"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for record in RECORDS:
        append_chained(tmp_path / "j.jsonl", record)
    return tmp_path / "j.jsonl"


def test_a_whole_file_is_read_completely(path: Path) -> None:
    found = read_chained(path)
    assert (list(found.records), found.damage) == (RECORDS, None)
    assert all(isinstance(json.loads(line), dict) for line in path.read_text(encoding="ascii").splitlines())


@pytest.mark.parametrize("flip", [1, 2, 0x20, 0x80])
def test_every_flipped_bit_is_noticed_or_harmless(path: Path, flip: int) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        content = bytearray(whole)
        content[at] ^= flip
        path.write_bytes(content)
        found = read_chained(path)
        assert all(record in RECORDS for record in found.records), at
        assert found.damage or list(found.records) == RECORDS, at


def test_a_kill_at_any_byte_is_not_damage_and_the_next_line_continues(path: Path) -> None:
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    start = len(b"".join(lines[:2]))
    for length in range(start, start + len(lines[2])):
        path.write_bytes(whole[:length])
        complete = 2 + (length == start + len(lines[2]) - 1)  # only the line feed is missing
        assert (list(read_chained(path).records), read_chained(path).damage) == (RECORDS[:complete], None), (
            length
        )
        append_chained(path, {"event": "again"})
        found = read_chained(path)
        assert found.damage is None, length
        assert list(found.records) == [*RECORDS[:complete], {"event": "again"}], length


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[1]],
        lambda lines: [*lines[:2], b'{"event": "undone", "step": "fix/0"}\n', *lines[2:]],
        lambda lines: [*lines, b'{"event": "undone", "step": "fix/0"}\n'],
        lambda lines: [*lines, b"[" * 100_000 + b"\n"],
        lambda lines: [b""],
        lambda lines: [b"\n"],
        lambda lines: [b"\0" * 100],
    ],
)
def test_lost_moved_and_added_lines_are_noticed(path: Path, change) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    found = read_chained(path)
    assert found.damage
    assert all(record in RECORDS for record in found.records)


def test_a_file_of_an_earlier_version_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS) + '{"event": "cut o')
    assert (list(read_chained(path).records), read_chained(path).damage) == (RECORDS, None)
    append_chained(path, {"event": "undone"})
    append_chained(path, {"event": "ended"})
    found = read_chained(path)
    assert (list(found.records), found.damage) == ([*RECORDS, {"event": "undone"}, {"event": "ended"}], None)
    path.write_bytes(path.read_bytes().replace(b"fix/1", b"fix/2"))
    assert read_chained(path).damage


def test_no_file_has_no_records(tmp_path: Path) -> None:
    assert read_chained(tmp_path / "j.jsonl").damage is None


def test_a_line_in_another_encoding_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes('{"event": "start"}'.encode("utf-16"))
    assert read_chained(path).damage == "has no complete line"
