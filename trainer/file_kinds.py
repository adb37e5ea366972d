"""What a file is by its first bytes, whatever its name says: formats that are not text, and encodings of text.

Signatures: https://en.wikipedia.org/wiki/List_of_file_signatures and the specifications of the formats.
"""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass

BEGINNING = 1 << 16  # bytes to look at
LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_EXTRACT = "Extract it, and use the folder or the text file in it."
_TO_TEXT = "Save its text as a .txt file in UTF-8."
_TO_CSV = "Save each sheet as CSV in UTF-8."
_TO_RECORDS = "Write its texts as JSON lines (.jsonl) or Parquet."
_NOT_DATA = "Choose a file with text."


@dataclass(frozen=True)
class Foreign:
    """A format that is not text: `name` with its article, and what to do with such a file."""

    name: str
    advice: str

    def sentence(self, path: object) -> str:
        return f"{path} is {self.name}. {self.advice}"


POINTER = Foreign(
    "a git-lfs pointer, a small text in place of the file itself",
    "To download the file, run `git lfs pull` in its folder.",
)
HTML = Foreign(
    "an HTML page, probably an error or login page saved instead of the data",
    "Download the data again. To train on the HTML itself, rename the file to .html.",
)
ZEROS = Foreign(
    "filled with zero bytes, as an incomplete download or a damaged disk leaves it",
    "Download or restore it.",
)
BINARY = Foreign(
    "a binary file of unknown format",
    "Convert its text to UTF-8, in a .txt, .jsonl, .csv or Parquet file.",
)

# Offset, signature, what it is, what to do. No UTF-8 text begins with one of these that has a byte above 0x7f.
_SIGNATURES = (
    (0, LFS_POINTER, POINTER.name, POINTER.advice),
    (0, b"%PDF-", "a PDF document", "Extract its text first, for example with pdftotext."),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document", _TO_TEXT),
    (0, b"{\\rtf", "an RTF document", _TO_TEXT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _EXTRACT),
    (0, b"Rar!\x1a\x07", "a RAR archive", _EXTRACT),
    (257, b"ustar\0", "a tar archive", _EXTRACT),
    (257, b"ustar  \0", "a tar archive", _EXTRACT),
    (0, b"\x04\x22\x4d\x18", "a file compressed with lz4", "Decompress it, or compress it as .gz or .zst."),
    (0, b"\x1f\x9d", "a file compressed with compress (.Z)", "Decompress it, or compress it as .gz or .zst."),
    (0, b"\x80\x02", "a pickle", _TO_RECORDS),
    (0, b"\x80\x03", "a pickle", _TO_RECORDS),
    (0, b"\x80\x04", "a pickle", _TO_RECORDS),
    (0, b"\x80\x05", "a pickle", _TO_RECORDS),
    (0, b"\x93NUMPY", "a NumPy array", _TO_RECORDS),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _TO_RECORDS),
    (0, b"SQLite format 3\0", "an SQLite database", _TO_RECORDS),
    (0, b"ARROW1\0\0", "an Arrow file", "Write it as Parquet: pyarrow.feather.read_table, then pyarrow.parquet.write_table."),
    (0, b"\xff\xff\xff\xff", "an Arrow stream, as Hugging Face `datasets` caches it", "Write it as Parquet: Dataset.from_file(FILE).to_parquet(...)."),
    (0, b"Obj\x01", "an Avro file", _TO_RECORDS),
    (0, b"GGUF\x02\0", "a GGUF model", _NOT_DATA),
    (0, b"GGUF\x03\0", "a GGUF model", _NOT_DATA),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", _NOT_DATA),
    (0, b"\xff\xd8\xff", "a JPEG image", _NOT_DATA),
    (0, b"GIF87a", "a GIF image", _NOT_DATA),
    (0, b"GIF89a", "a GIF image", _NOT_DATA),
    (0, b"II*\0", "a TIFF image", _NOT_DATA),
    (0, b"MM\0*", "a TIFF image", _NOT_DATA),
    (8, b"WEBPVP8", "a WebP image", _NOT_DATA),
    (8, b"WAVEfmt ", "a WAV recording", _NOT_DATA),
    (0, b"OggS\0", "an Ogg recording", _NOT_DATA),
    (0, b"fLaC\0", "a FLAC recording", _NOT_DATA),
    (0, b"ID3\x02", "an MP3 recording", _NOT_DATA),
    (0, b"ID3\x03", "an MP3 recording", _NOT_DATA),
    (0, b"ID3\x04", "an MP3 recording", _NOT_DATA),
    (4, b"ftypisom", "an MP4 video", _NOT_DATA),
    (4, b"ftypmp42", "an MP4 video", _NOT_DATA),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", _NOT_DATA),
    (0, b"\x7fELF", "a Linux program or library", _NOT_DATA),
    (0, b"MZ\x90\0", "a Windows program or library", _NOT_DATA),
)  # fmt: skip
_OFFICE = (  # by a folder in the zip file
    (b"word/", "a Word document (.docx)", _TO_TEXT),
    (b"xl/", "an Excel workbook (.xlsx)", _TO_CSV),
    (b"ppt/", "a PowerPoint presentation (.pptx)", _TO_TEXT),
)
_NO_TEXT = ("Cc", "Cn", "Co", "Cs")  # Unicode categories
_BOMS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def foreign(beginning: bytes) -> Foreign | None:
    """The format of a file that is not text, by its first bytes; None for text, compressed text and Parquet."""
    if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(beginning)
    for offset, signature, name, advice in _SIGNATURES:
        if beginning.startswith(signature, offset):
            return Foreign(name, advice)
    if beginning and not beginning.strip(b"\0"):
        return ZEROS
    return None


def is_html(beginning: bytes) -> bool:
    start = beginning.removeprefix(codecs.BOM_UTF8).lstrip()[:14].lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _zip(beginning: bytes) -> Foreign:
    """Which kind of zip file it is, by the names in its local headers, which are not compressed."""
    if b"mimetypeapplication/epub" in beginning[:100]:
        return Foreign("an EPUB book", _TO_TEXT)
    if b"mimetypeapplication/vnd.oasis" in beginning[:100]:
        return Foreign("an OpenDocument file (.odt, .ods)", f"{_TO_TEXT} {_TO_CSV}")
    if b"[Content_Types].xml" in beginning:
        for folder, name, advice in _OFFICE:
            if folder in beginning:
                return Foreign(name, advice)
        return Foreign("a Microsoft Office document", _TO_TEXT)
    if b"/data.pkl" in beginning:
        return Foreign("a PyTorch file (a pickle)", _TO_RECORDS)
    if b".npy" in beginning[:100]:
        return Foreign("a file of NumPy arrays (.npz)", _TO_RECORDS)
    return Foreign("a zip archive", _EXTRACT)


def encoding(beginning: bytes) -> str:
    """The encoding of a text by its first bytes: utf-8, utf-8-sig, utf-16, utf-16-le, utf-16-be or utf-32.

    Without a byte order mark, text is UTF-16 if it contains zero bytes (of Latin letters, spaces or line ends), those only
    in the high bytes of characters, and if these are characters that Unicode has.
    """
    for mark, name in _BOMS:
        if beginning.startswith(mark):
            return name
    if b"\0" in beginning:
        for name, high, low in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
            if _is_utf16(beginning, name, beginning[high::2], beginning[low::2]):
                return name
    return "utf-8"


def _is_utf16(beginning: bytes, name: str, high_bytes: bytes, low_bytes: bytes) -> bool:
    rest = beginning.replace(b"\0", b"")
    printable = rest.isascii() and _controls(rest) <= 0.02 * len(rest)
    if printable and high_bytes.count(0) < 0.4 * len(high_bytes):
        return False  # ASCII with a few zero bytes
    if not rest.isascii() and is_utf8(rest):
        return False
    text = beginning[: len(beginning) & ~1].decode(name, "replace")
    return low_bytes.count(0) <= 0.02 * len(low_bytes) and _strange(text) <= 0.02 * len(text)


def _strange(text: str) -> int:
    """The number of characters that no text contains: unassigned ones, controls, and what could not be decoded."""
    return sum(
        character == "\ufffd" or (unicodedata.category(character) in _NO_TEXT and character not in "\t\n\r\f")
        for character in text
    )


def is_utf8(beginning: bytes) -> bool:
    """Whether a text begins with valid UTF-8. Its last character may be incomplete."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return True


def not_utf8(text: bytes) -> str:
    """What a text is that is not UTF-8, and how to convert it. For messages."""
    found = foreign(text)
    if found:
        return f"it is {found.name}. {found.advice}"
    if encoding(text).startswith(("utf-16", "utf-32")):
        return f"it looks like {encoding(text)[:6].upper()}. Save it as UTF-8."
    if b"\0" in text or _controls(text) > 0.05 * len(text):
        return f"it is binary. {BINARY.advice}"
    return (
        "it looks like Latin-1 or another 8-bit encoding, such as Windows-1252. Save it as UTF-8: "
        "`iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW`, or in an editor."
    )


def _controls(text: bytes) -> int:
    return sum(text.count(byte) for byte in {*range(0x20), 0x7F} - set(b"\t\n\r\f\x1b"))
