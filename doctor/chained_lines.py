"""A file of JSON lines that shows whether it is damaged: each line has its number, the checksum of the line before, and its own.

A line that a kill cut off does not count as damage: it was never complete, and the next line refers to the last complete one. Files of
earlier versions have no checksums; the first line appended to such a file has the checksum of everything before it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.bounded import UnreadableFileError, parse_json, read_bytes
from doctor.files import append_line

NUMBER, BEFORE, SUM = "n", "before", "sum"
Record = dict[str, Any]


@dataclass(frozen=True)
class Lines:
    """The lines of a file that are as they were written.

    Attributes:
        damage: what is wrong with the file, as a clause about it. None: it is complete, or there is no file.
    """

    records: tuple[Record, ...] = ()
    damage: str | None = None
    newest: tuple[int, str] = (0, "")  # number and checksum


def append_chained(path: Path, record: Record) -> None:
    """Append a record and wait until it is on the disk. Raises OSError."""
    lines = read_chained(path)
    number, before = lines.newest
    if not number and path.exists():
        before = _checksum_of(_complete(read_bytes(path)))
    chained = {**record, NUMBER: number + 1, BEFORE: before}
    append_line(path, json.dumps({**chained, SUM: _sum(chained)}).encode())


def read_chained(path: Path) -> Lines:
    """Read a file; no file has no records. Raises OSError."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return Lines()
    except UnreadableFileError as error:
        return Lines(damage=f"cannot be read: {error}")
    if not content:
        return Lines(damage="is empty")
    records: list[Record] = []
    damage, newest, offset = None, (0, ""), 0
    for count, line in enumerate(content.splitlines(keepends=True), start=1):
        record = _parsed(line)
        if record is None:
            # A kill cut it off, and the next writer ended it. If it was complete once, the number of the next line shows that
            is_last = offset + len(line) == len(content)
            if is_last and (line.endswith(b"\n") or _parsed(line[:-1])):
                damage = damage or f"has a changed line ({count})"
        elif SUM not in record:
            earlier_version = not newest[0] and {NUMBER, BEFORE}.isdisjoint(record)
            damage = damage or (None if earlier_version else f"has a changed line ({count})")
            records += [record] if earlier_version else []
        elif record.pop(SUM) != (checksum := _sum(record)):
            damage = damage or f"has a changed line ({count})"
        else:
            earlier = newest if newest[0] else (0, _checksum_of(content[:offset]) if offset else "")
            if (record.pop(NUMBER), record.pop(BEFORE)) != (earlier[0] + 1, earlier[1]):
                damage = damage or f"has a missing or changed line before line {count}"
            newest = (_number(line), checksum)
            records.append(record)
        offset += len(line)
    if not records:
        damage = damage or "has no complete line"
    return Lines(tuple(records), damage, newest)


def _parsed(line: bytes) -> Record | None:
    try:
        record = parse_json(line.decode())  # json itself would also accept UTF-16
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _number(line: bytes) -> int:
    number = parse_json(line)[NUMBER]
    return number if isinstance(number, int) else 0


def _complete(content: bytes) -> bytes:
    """The content as it is before the next line is appended: a line that was cut off is ended first."""
    return content if content.endswith(b"\n") or not content else content + b"\n"


def _sum(record: Record) -> str:
    return _checksum_of(json.dumps(record, sort_keys=True).encode())


def _checksum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
