"""Read the dynamic section of Linux programs and libraries (ELF files) without loading them.

The names are those of the System V ABI and of the Linux Standard Base (symbol versions). Only the tables are read; each
has a size limit, since the file may be damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from doctor.host.base import Binary

MAGIC = b"\x7fELF"
MACHINES: dict[int, Literal["x64", "x86", "arm64"]] = {62: "x64", 3: "x86", 183: "arm64"}
BITS_64, LITTLE_ENDIAN = 2, 1
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF
MOST_SEGMENTS, MOST_ENTRIES, MOST_VERSIONS = 256, 4096, 4096
LONGEST_NAME = 256  # bytes


class DamagedElfError(ValueError):
    """The tables of the file are damaged; the message is a clause."""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int  # in the file
    address: int  # in memory
    size: int  # in the file


@dataclass(frozen=True)
class _Image:
    file: BinaryIO
    segments: tuple[_Segment, ...]

    def at(self, address: int, size: int) -> bytes:
        """Return `size` bytes at a memory address of the loaded image; fewer at the end of the file."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.size:
                return _read(self.file, segment.offset + address - segment.address, size)
        raise DamagedElfError(f"its tables point to {address:#x}, outside of all segments")

    def name(self, address: int) -> str:
        text = self.at(address, LONGEST_NAME).partition(b"\0")[0]
        if len(text) == LONGEST_NAME or not text.isascii() or not text.decode("ascii").isprintable():
            raise DamagedElfError("its table of names is damaged")
        return text.decode("ascii")


def read_elf(file: BinaryIO) -> Binary:
    """Return the headers of an ELF file: the libraries it needs, and the symbol versions it needs of them."""
    header = _unpack("<4s5B7xHHIQQQIHHH", _read(file, 0, 58))
    _, bits, order, *_, machine, _, _, table, _, _, _, size, count = header
    if bits not in (1, 2) or order not in (1, 2):
        raise DamagedElfError("its header is damaged")
    if bits != BITS_64 or order != LITTLE_ENDIAN:
        return Binary(machine="other", imports=())
    if count > MOST_SEGMENTS:
        raise DamagedElfError("its header is damaged")
    image = _Image(file, tuple(_segment(file, table + size * index) for index in range(count)))
    entries = [*_dynamic(image)]
    values = dict(entries)
    names = values.get(DT_STRTAB, 0)
    return Binary(
        machine=MACHINES.get(machine, "other"),
        imports=tuple(image.name(names + value) for tag, value in entries if tag == DT_NEEDED),
        symbol_versions=tuple(dict.fromkeys(_versions(image, values, names))),
    )


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _unpack(layout: str, data: bytes) -> tuple[int, ...]:
    if len(data) < struct.calcsize(layout):
        raise DamagedElfError("it ends within a table")
    return struct.unpack_from(layout, data)


def _segment(file: BinaryIO, offset: int) -> _Segment:
    kind, _, place, address, _, size = _unpack("<IIQQQQ", _read(file, offset, 40))
    return _Segment(kind, place, address, size)


def _dynamic(image: _Image) -> Iterator[tuple[int, int]]:
    """Yield the entries of the dynamic section: tag and value."""
    section = next((each for each in image.segments if each.kind == PT_DYNAMIC), None)
    if section is None:  # a static program
        return
    data = _read(image.file, section.offset, min(section.size, 16 * MOST_ENTRIES))
    for start in range(0, len(data) - 15, 16):
        tag, value = _unpack("<QQ", data[start : start + 16])
        if tag == 0:
            return
        yield tag, value


def _versions(image: _Image, values: dict[int, int], names: int) -> Iterator[str]:
    """Yield the symbol versions that the file needs of other libraries, such as "GLIBC_2.32"."""
    need, left = values.get(DT_VERNEED, 0), MOST_VERSIONS
    for _ in range(min(values.get(DT_VERNEEDNUM, 0), MOST_VERSIONS)):
        _, count, _, first, following = _unpack("<HHIII", image.at(need, 16))
        version = need + first
        for _ in range(min(count, left)):
            _, _, _, name, step = _unpack("<IHHII", image.at(version, 16))
            yield image.name(names + name)
            version, left = version + step, left - 1
        if not following or left <= 0:
            return
        need += following
