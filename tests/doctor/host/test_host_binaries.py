"""Headers of Windows programs; wherever a file is damaged, it is unreadable after a bounded number of reads."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.host import Absent, Binary, Found, Host, Reading, Unreadable, binaries
from doctor.host.binaries import MOST_IMPORTS, read_binary

BASE, HEADERS = 0x1000, 0x200
DELAY_IMPORTS = 13


def pe_file(
    imports: tuple[str, ...] = (),
    version: tuple[int, int, int, int] | None = None,
    machine: int = 0x8664,
    delayed: str | None = None,
) -> bytes:
    """A PE file with one section, built as Microsoft's "PE Format" describes."""
    body = bytearray()
    directories = [(0, 0)] * 16

    def put(data: bytes) -> int:
        """Append data to the section and return its address."""
        body.extend(data)
        return BASE + len(body) - len(data)

    if imports:
        names = [put(name.encode() + b"\0") for name in imports]
        table = b"".join(struct.pack("<IIIII", 1, 0, 0, name, 1) for name in names)
        directories[1] = (put(table + bytes(20)), len(table))
    if delayed:
        table = struct.pack("<IIIIIIII", 1, put(delayed.encode() + b"\0"), 0, 0, 0, 0, 0, 0)
        directories[DELAY_IMPORTS] = (put(table + bytes(32)), len(table))
    if version:
        high, low = version[0] << 16 | version[1], version[2] << 16 | version[3]
        fixed = struct.pack("<13I", 0xFEEF04BD, 0x10000, high, low, *[0] * 9)
        key = "VS_VERSION_INFO\0".encode("utf-16-le") + bytes(2)
        data = put(struct.pack("<HHH", 92, 52, 0) + key + fixed)
        folders = b""
        for level, name in enumerate((16, 1, 0x409)):
            other = struct.pack("<II", 3, 0x80000000 | 9999) if level == 0 else b""  # an icon, before it
            inner = 24 * (level + 1) + 8
            place = inner | 0x80000000 if level < 2 else inner
            count = 2 if level == 0 else 1
            folders += struct.pack("<IIHHHH", 0, 0, 0, 0, 0, count) + other + struct.pack("<II", name, place)
        directories[2] = (put(folders + struct.pack("<IIII", data, 92, 0, 0)), 128)
    header = struct.pack("<H", 0x20B) + bytes(110) + b"".join(struct.pack("<II", *d) for d in directories)
    start = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", machine, 1, 0, 0, 0, len(header), 0x2000)
    section = struct.pack("<8sIIIIIIHHI", b".rdata", len(body), BASE, len(body), HEADERS, 0, 0, 0, 0, 0)
    return (start + coff + header + section).ljust(HEADERS, b"\0") + bytes(body)


WHOLE = pe_file(("KERNEL32.dll", "cudart64_12.dll"), (14, 44, 35112, 1), delayed="late.dll")


@pytest.fixture
def read(host: Host, tmp_path: Path) -> Callable[[bytes], Reading[Binary]]:
    def read(content: bytes) -> Reading[Binary]:
        file = tmp_path / "library.dll"
        file.write_bytes(content)
        return host.binary(str(file))

    return read


Read = Callable[[bytes], Reading[Binary]]


@pytest.fixture
def sizes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes of each read from a file."""
    sizes = []
    read = binaries._read

    def counted(file: BinaryIO, offset: int, size: int) -> bytes:
        data = read(file, offset, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(binaries, "_read", counted)
    return sizes


def test_machine_imports_and_version(read: Read) -> None:
    """A delay-loaded library is not needed to load the program."""
    expected = Binary(machine="x64", imports=("kernel32.dll", "cudart64_12.dll"), version="14.44.35112.1")
    assert read(WHOLE) == Found(expected)


@pytest.mark.parametrize(("number", "name"), [(0x14C, "x86"), (0xAA64, "arm64"), (0x1C0, "other")])
def test_other_machines(read: Read, number: int, name: str) -> None:
    assert read(pe_file(machine=number)) == Found(Binary.model_validate({"machine": name, "imports": ()}))


def test_the_launchers_in_setuptools(host: Host) -> None:
    """Real files from Microsoft's compiler, including 32-bit ones (PE32)."""
    spec = importlib.util.find_spec("setuptools")  # found, not imported: it replaces distutils
    if spec is None or spec.origin is None:
        pytest.skip("setuptools is not installed")
    machines = {"cli-32.exe": "x86", "cli-64.exe": "x64", "cli-arm64.exe": "arm64"}
    for name, machine in machines.items():
        reading = host.binary(str(Path(spec.origin).with_name(name)))
        assert isinstance(reading, Found)
        assert reading.value.machine == machine and "kernel32.dll" in reading.value.imports


def test_a_file_that_is_not_a_library_is_unreadable(host: Host, read: Read, tmp_path: Path) -> None:
    assert host.binary(str(tmp_path / "none.dll")) == Absent()
    assert isinstance(host.binary("relative.dll"), Unreadable)
    assert isinstance(host.binary(str(tmp_path)), Unreadable)
    for content in (b"", b"MZ", b"\x7fELF" + bytes(100), b"MZ" + bytes(200)):
        assert isinstance(read(content), Unreadable)


def test_only_the_start_of_an_endless_import_table_is_read(read: Read, sizes_read: list[int]) -> None:
    table = struct.pack("<IIIII", 1, 0, 0, BASE, 1) * 5000
    content = bytearray(pe_file(("a.dll",)) + table)
    content[HEADERS + 6 : HEADERS + 6 + len(table)] = table
    content[328 + 8 : 328 + 12] = struct.pack("<I", len(table) + 100)  # the section's size
    read(bytes(content))
    # An entry and a name for each import, and a few headers
    assert MOST_IMPORTS < len(sizes_read) < 2 * MOST_IMPORTS + 20


def test_only_the_tables_of_a_large_file_are_read(host: Host, tmp_path: Path, sizes_read: list[int]) -> None:
    file = tmp_path / "large.dll"
    with file.open("wb") as large:
        large.write(WHOLE)
        large.truncate(3 * 2**30)  # a sparse file: it takes no space
    assert isinstance(host.binary(str(file)), Found)
    assert sum(sizes_read) < 100_000


def real_program() -> bytes:
    """A launcher from setuptools, if it is installed."""
    files = importlib.metadata.files("setuptools") if importlib.util.find_spec("setuptools") else None
    launcher = next((file for file in files or () if file.name == "cli-64.exe"), None)
    return launcher.read_binary() if launcher else WHOLE


@given(st.sampled_from([WHOLE, real_program()]), st.data())
@settings(deadline=None, max_examples=500)
def test_a_damaged_file_never_raises(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    content = bytearray(whole)
    last = len(whole) - 1
    places = st.integers(0, min(1023, last)) | st.integers(0, last)  # most tables are at the start
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[place] = byte
    length = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    file = tmp_path_factory.getbasetemp() / "damaged.dll"
    file.write_bytes(content[:length])
    assert isinstance(read_binary(str(file)), Found | Unreadable)
