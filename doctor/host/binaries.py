"""Reads the headers of programs and libraries without executing them: here those of Windows (PE files).

The names are those of Microsoft's "PE Format". The libraries of torch have hundreds of megabytes, so only the tables are
read; each has a size limit, since the file may be damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from doctor.bounded import open_regular
from doctor.host import elf
from doctor.host.base import Binary
from doctor.host.readings import Absent, Found, Reading, Unreadable

Machine = Literal["x64", "x86", "arm64", "other"]

MACHINES: dict[int, Machine] = {0x8664: "x64", 0x14C: "x86", 0xAA64: "arm64"}
DIRECTORIES_AT = {0x10B: 96, 0x20B: 112}  # in the optional header, by its magic: PE32, PE32+
IMPORTS, RESOURCES = 1, 2  # indices in the list of data directories
RT_VERSION = 16
SUBDIRECTORY = 0x80000000
FIXED_FILE_INFO = struct.pack("<I", 0xFEEF04BD)
MOST_SECTIONS, MOST_IMPORTS, MOST_RESOURCES = 96, 1024, 4096
LONGEST_NAME = 256  # bytes
VERSION_RESOURCE = 4096  # bytes; VS_FIXEDFILEINFO is at its start


class DamagedError(ValueError):
    """The file is not a PE file, or its tables are damaged; the message is a clause."""


@dataclass(frozen=True)
class _Section:
    address: int  # in memory
    size: int
    offset: int  # in the file


@dataclass(frozen=True)
class _Image:
    """An open PE file: its machine, its sections, and the addresses of its data directories."""

    file: BinaryIO
    machine: int
    sections: tuple[_Section, ...]
    directories: tuple[int, ...]

    def at(self, address: int, size: int) -> bytes:
        """Return `size` bytes at a memory address of the loaded image; fewer at the end of the file."""
        for section in self.sections:
            if section.address <= address < section.address + section.size:
                return _read(self.file, section.offset + address - section.address, size)
        raise DamagedError(f"its tables point to {address:#x}, outside of all sections")

    def unpack(self, layout: str, address: int) -> tuple[int, ...]:
        return _unpack(layout, self.at(address, struct.calcsize(layout)))


def read_binary(path: str) -> Reading[Binary]:
    """Return the headers of a PE or ELF file. Absent: there is no such file."""
    try:
        with open_regular(Path(path)) as file:
            if _read(file, 0, 4) == elf.MAGIC:
                return Found(elf.read_elf(file))
            image = _open(file)
            return Found(
                Binary(
                    machine=MACHINES.get(image.machine, "other"),
                    imports=tuple(_imports(image)),
                    version=_version(image),
                )
            )
    except (FileNotFoundError, NotADirectoryError):
        return Absent()
    except (OSError, ValueError) as error:
        return Unreadable.because(error)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _unpack(layout: str, data: bytes) -> tuple[int, ...]:
    if len(data) < struct.calcsize(layout):
        raise DamagedError("it ends within a table")
    return struct.unpack_from(layout, data)


def _open(file: BinaryIO) -> _Image:
    if _read(file, 0, 2) != b"MZ":
        raise DamagedError("not a program or library")
    (start,) = _unpack("<I", _read(file, 0x3C, 4))
    if _read(file, start, 4) != b"PE\0\0":
        raise DamagedError("not a program or library")
    machine, count, _, _, _, header_size = _unpack("<HHIIIH", _read(file, start + 4, 18))
    header = _read(file, start + 24, header_size)
    (magic,) = _unpack("<H", header)
    if magic not in DIRECTORIES_AT or count > MOST_SECTIONS:
        raise DamagedError("its header is damaged")
    directories = header[DIRECTORIES_AT[magic] :]
    table = _read(file, start + 24 + header_size, 40 * count)
    return _Image(
        file,
        machine,
        tuple(_section(table[40 * i :]) for i in range(count)),
        tuple(_unpack("<I", directories[8 * i :])[0] for i in (0, IMPORTS, RESOURCES)),
    )


def _section(entry: bytes) -> _Section:
    _, _, size, address, size_in_file, offset = _unpack("<IIIIII", entry)
    return _Section(address, max(size, size_in_file), offset)


def _imports(image: _Image) -> Iterator[str]:
    """The names in the import directory table, in its order, without delay-loaded libraries."""
    start = image.directories[IMPORTS]
    for index in range(MOST_IMPORTS if start else 0):
        *_, name, _ = image.unpack("<IIIII", start + 20 * index)
        if not name:
            return
        yield _name(image.at(name, LONGEST_NAME))


def _name(data: bytes) -> str:
    name = data.partition(b"\0")[0]
    if not name.isascii() or not name.decode("ascii").isprintable() or len(name) == LONGEST_NAME:
        raise DamagedError("its import table is damaged")
    return name.decode("ascii").lower()


def _version(image: _Image) -> str | None:
    """The file version in the version resource; None if there is none."""
    start = image.directories[RESOURCES]
    if not start:
        return None
    offset = 0
    for key in (RT_VERSION, None, None):  # type, name, language
        entry = _resource(image, start + offset, key)
        if entry is None:
            return None
        offset = entry & ~SUBDIRECTORY
    address, size = image.unpack("<II", start + offset)
    resource = image.at(address, min(size, VERSION_RESOURCE))
    found = resource.find(FIXED_FILE_INFO)
    if found < 0:
        return None
    _, _, high, low = _unpack("<IIII", resource[found:])
    return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def _resource(image: _Image, directory: int, key: int | None) -> int | None:
    """The offset in the entry for `key` (None: in the first entry) of a resource directory; None if there is none."""
    *_, named, numbered = image.unpack("<IIHHHH", directory)
    for index in range(min(named + numbered, MOST_RESOURCES)):
        name, offset = image.unpack("<II", directory + 16 + 8 * index)
        if key in (None, name):
            return offset
    return None
