"""Headers of Linux libraries; wherever a file is damaged, it is unreadable after a bounded number of reads."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.host import Binary, Found, Host, Unreadable, elf
from doctor.host.binaries import read_binary

HEADER, PROGRAM_HEADER = 64, 56
BASE = 0x10000  # where the file is in memory


def elf_file(
    needed: tuple[str, ...], versions: tuple[str, ...] = (), machine: int = 62, bits: int = 2
) -> bytes:
    """An ELF library as the System V ABI describes: one loaded segment with the dynamic section in it."""
    body = bytearray()
    start = HEADER + 2 * PROGRAM_HEADER

    def put(data: bytes) -> int:
        """Append data and return its offset in the file."""
        body.extend(data)
        return start + len(body) - len(data)

    strings, places = b"\0", {}
    for name in (*needed, *versions, "libc.so.6"):
        places[name] = len(strings)
        strings += name.encode() + b"\0"
    table = put(strings)
    entries = b"".join(
        struct.pack("<IHHII", 0, 0, 2, places[name], 16 if name != versions[-1] else 0) for name in versions
    )
    need = put(struct.pack("<HHIII", 1, len(versions), places["libc.so.6"], 16, 0) + entries)
    tags = [(1, places[name]) for name in needed] + [(5, BASE + table)]
    if versions:
        tags += [(0x6FFFFFFE, BASE + need), (0x6FFFFFFF, 1)]
    dynamic = put(b"".join(struct.pack("<QQ", *each) for each in (*tags, (0, 0))))
    total, size = start + len(body), 16 * (len(tags) + 1)
    header = struct.pack(
        "<4s5B7xHHIQQQIHHH",
        b"\x7fELF",
        bits,
        1,
        1,
        0,
        0,
        3,
        machine,
        1,
        0,
        HEADER,
        0,
        0,
        HEADER,
        PROGRAM_HEADER,
        2,
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, total, total, 4096)
    where = struct.pack("<IIQQQQQQ", 2, 6, dynamic, BASE + dynamic, BASE + dynamic, size, size, 8)
    return header.ljust(HEADER, b"\0") + load + where + bytes(body)


WHOLE = elf_file(("libtorch_cpu.so", "libcudart.so.12"), ("GLIBC_2.2.5", "GLIBC_2.32"))


def test_needed_libraries_and_symbol_versions(tmp_path: Path, host: Host) -> None:
    file = tmp_path / "_C.so"
    file.write_bytes(WHOLE)
    assert host.binary(str(file)) == Found(
        Binary(
            machine="x64",
            imports=("libtorch_cpu.so", "libcudart.so.12"),
            symbol_versions=("GLIBC_2.2.5", "GLIBC_2.32"),
        )
    )


@pytest.mark.parametrize(("number", "bits", "name"), [(183, 2, "arm64"), (62, 1, "other"), (243, 2, "other")])
def test_other_machines(tmp_path: Path, number: int, bits: int, name: str) -> None:
    file = tmp_path / "_C.so"
    file.write_bytes(elf_file((), machine=number, bits=bits))
    found = read_binary(str(file))
    assert isinstance(found, Found) and found.value.machine == name


@pytest.mark.skipif(not shutil.which("readelf") or sys.platform != "linux", reason="needs readelf")
def test_it_reads_what_readelf_reads(host: Host) -> None:
    program = str(Path(sys.executable).resolve())
    environment = {"LC_ALL": "C"}
    listed = subprocess.run(
        ["readelf", "-dVW", program], capture_output=True, text=True, check=True, env=environment
    ).stdout
    found = host.binary(program)
    assert isinstance(found, Found)
    assert list(found.value.imports) == re.findall(r"\(NEEDED\).*\[(.+)\]", listed)
    needs = listed.partition("Version needs section")[2]
    assert set(found.value.symbol_versions) == set(re.findall(r"Name: (\S+)", needs)) and needs


@settings(deadline=None, max_examples=150)
@given(place=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255), length=st.integers(0, len(WHOLE)))
def test_a_damaged_file_is_read_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, length: int
) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] = value
    file = tmp_path_factory.getbasetemp() / "damaged.so"
    file.write_bytes(damaged[: max(length, 4)])
    assert isinstance(read_binary(str(file)), Found | Unreadable)


def test_a_table_that_leads_in_a_circle_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = elf._read

    def counted(file: BinaryIO, offset: int, size: int) -> bytes:
        reads.append(offset)
        return read(file, offset, size)

    monkeypatch.setattr(elf, "_read", counted)
    content = bytearray(elf_file((), ("GLIBC_2.2.5", "GLIBC_2.32")))
    need = content.index(struct.pack("<HHI", 1, 2, 24))
    content[need : need + 4] = struct.pack("<HH", 1, 0xFFFF)  # more versions than there are
    content[need + 16 + 12 : need + 16 + 16] = bytes(4)  # the next one is this one
    file = tmp_path / "circle.so"
    file.write_bytes(content)
    read_binary(str(file))
    assert len(reads) < 3 * elf.MOST_VERSIONS
