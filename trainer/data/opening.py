"""One file of a data set: what it is, by its first bytes and its name, and its content as UTF-8."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, cast

from doctor.bounded import check, open_regular, read_beginning
from doctor.extras import how_to_add
from trainer import file_kinds
from trainer.errors import UserError

Format = Literal["text", "JSON lines", "JSON", "CSV", "Parquet"]
FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".parquet": "Parquet",
}
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")  # suffixes after one of FORMATS
PARQUET = b"PAR1"
BLOCK = 1 << 18
LARGEST = 16 << 40  # bytes of a file
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        name: its path relative to the data set's folder, with forward slashes.
        compression: gzip, zstd, bzip2, xz, or empty.
        encoding: of the text; see `file_kinds.encoding`.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int
    format: Format = "text"
    compression: str = ""
    encoding: str = "utf-8"

    @classmethod
    def of(cls, path: Path, name: str, any_bytes: bool = False) -> Source:
        """Look at the beginning of a file.

        Args:
            any_bytes: whether a text may be in any encoding.

        Raises:
            UserError: it is not a file that can be trained on.
            OSError: it cannot be read.
        """
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(
                f"{path.absolute()} is not a regular file. Set data.dataset_file (--dataset-file) to one."
            )
        with explained(path):
            compression = _compression(read_beginning(path, 10))
            with _decompressed(path, compression) as file:
                beginning = file.read(file_kinds.BEGINNING)
        encoding = file_kinds.encoding(beginning)
        source = cls(
            path, name, status.st_size, status.st_mtime_ns, _format(path, beginning), compression, encoding
        )
        source._refuse(beginning, any_bytes)
        return source

    @property
    def suffix(self) -> str:
        return inner_suffix(self.path)

    @property
    def kind(self) -> str:
        """How the file is read, for example "JSON lines, gzip, utf-16"."""
        return ", ".join(filter(None, (self.format, self.compression, self.encoding)))

    @property
    def text_size(self) -> int:
        """An estimate of the bytes of text: compressed text is usually three to five times as large."""
        return self.size * 5 if self.compression or self.format == "Parquet" else self.size

    def changed(self) -> bool:
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The content as UTF-8, without a byte order mark. A text that is not UTF-16 or UTF-32 is not decoded."""
        with _decompressed(self.path, self.compression) as file:
            if self.encoding == "utf-8-sig":
                file.read(len(codecs.BOM_UTF8))
            if self.encoding.startswith("utf-8"):
                yield file
            else:
                yield cast(BinaryIO, io.BufferedReader(_Blocks(_transcoded(file, self.encoding)), BLOCK))

    @contextmanager
    def open_text(self) -> Iterator[io.TextIOWrapper]:
        """The content, for formats that must be Unicode. Line ends are not translated."""
        with self.open() as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            yield text

    def _refuse(self, beginning: bytes, any_bytes: bool) -> None:
        """Raise UserError for what is certainly not training text."""
        path = self.path.absolute()
        found = file_kinds.foreign(beginning)
        if not found and self.suffix in FORMATS and file_kinds.is_html(beginning):
            found = file_kinds.HTML
        if found:
            raise UserError(found.sentence(path))
        if self.format == "Parquet" and self.compression:
            raise UserError(f"{path} is a Parquet file in {self.compression}. Decompress it.")
        must_be_unicode = self.format != "Parquet" and not (self.format == "text" and any_bytes)
        if must_be_unicode and self.encoding.startswith("utf-8") and not file_kinds.is_utf8(beginning):
            raise UserError(f"{path} is not UTF-8 text: {file_kinds.not_utf8(beginning)}")


def inner_suffix(path: PurePath) -> str:
    """The suffix in lower case, below that of a compression: .jsonl for data.JSONL.gz."""
    suffix = path.suffix.lower()
    return PurePath(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def _format(path: Path, beginning: bytes) -> Format:
    if beginning.startswith(PARQUET):
        return "Parquet"
    found = FORMATS.get(inner_suffix(path), "text")
    if not found.startswith("JSON"):
        return found
    text = beginning.decode(file_kinds.encoding(beginning), "replace").lstrip()
    first, *others = (line.strip() for line in text.split("\n", 2)[:2])
    if first.startswith("[") and first.endswith("]") and any(line.startswith("[") for line in others):
        return "JSON lines"  # of lists
    # An array, or an object that is continued on the next line. Otherwise each line is a record.
    return "JSON" if first.startswith("[") or first.endswith(("{", ",", "[")) else "JSON lines"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Explain errors of reading a file as UserError."""
    try:
        yield
    except DAMAGED as error:
        raise UserError(
            f"{path.absolute()} is incomplete or damaged: {error}. Download or copy it again."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.absolute()} is not valid {error.encoding} ({error.reason}). Save it as UTF-8."
        ) from error
    except OSError as error:
        if error.errno is None:  # pyarrow's decompression
            raise UserError(
                f"{path.absolute()} is incomplete or damaged: {error}. Download or copy it again."
            ) from error
        raise UserError(f"{path.absolute()} cannot be read: {error.strerror}.") from error


def _compression(beginning: bytes) -> str:
    return next((name for name, magic in _MAGIC.items() if re.match(magic, beginning)), "")


def _decompressed(path: Path, compression: str) -> BinaryIO:
    check(path, LARGEST)
    return cast(BinaryIO, _OPEN[compression](path))


def _zstd(path: Path) -> BinaryIO:
    try:
        import pyarrow
    except ImportError:
        raise UserError(
            f"{path.absolute()} is compressed with zstd. Reading it needs the package pyarrow, which is not installed. "
            f"To install it:\n  {how_to_add('parquet')}"
        ) from None
    stream = pyarrow.input_stream(str(path), compression="zstd")
    return cast(BinaryIO, io.BufferedReader(_Blocks(_blocks(stream)), BLOCK))


def _blocks(file: Any) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


def _transcoded(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    while block := file.read(BLOCK):
        yield decoder.decode(block).encode("utf-8")
    yield decoder.decode(b"", final=True).encode("utf-8")


class _Blocks(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


_MAGIC = {
    "gzip": rb"\x1f\x8b\x08",
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",  # a frame, or a skippable frame
    "bzip2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\0",
}
_OPEN: dict[str, Callable[[Path], Any]] = {
    "": open_regular,
    "gzip": gzip.GzipFile,
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": _zstd,
}
