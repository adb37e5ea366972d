"""The files of a data set, and the documents in them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from doctor.bounded import read_beginning
from trainer import file_kinds
from trainer.data import json_records, tables
from trainer.data.documents import PIECE, Piece, of_blocks
from trainer.data.instructions import PLAIN, Reading, Tally, refuse_text
from trainer.data.opening import COMPRESSED, FORMATS, Format, Source, explained, inner_suffix
from trainer.errors import UserError
from trainer.say import Say


def listed(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The names and states of the file itself, or of the files below the folder that may be data; none is opened.

    Raises:
        OSError: they cannot be listed.
    """
    if not path.is_dir():
        yield path.name, path.stat()
        return
    for folder, folders, names in os.walk(path, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(folder).relative_to(path).as_posix()
        for name in names:
            if not name.startswith(".") and inner_suffix(PurePath(name)) in FORMATS:
                yield name if inside == "." else f"{inside}/{name}", Path(folder, name).stat()


def _fail(error: OSError) -> None:
    raise error


def find(path: Path, say: Say, reading: Reading = PLAIN, any_bytes: bool = False) -> list[Source]:
    """The file itself, or all data files below the folder, sorted by name. Hidden files are skipped.

    Args:
        any_bytes: whether a text may be in any encoding.

    Raises:
        UserError: the path does not exist, cannot be read, contains no data file, or one that is not what its name says.
    """
    try:
        if not path.is_dir():
            return [Source.of(path, path.name, any_bytes)]
        names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        visible = sorted(name for name in names if not re.search(r"(^|/)\.", name))
        known = [name for name in visible if inner_suffix(path / name) in FORMATS]
        sources = [Source.of(path / name, name, any_bytes) for name in known]
    except FileNotFoundError:
        raise UserError(
            f"No data set at {path.absolute()}. Set data.dataset_file (--dataset-file) to a text file, or to a folder of "
            "text files."
        ) from None
    except OSError as error:
        raise UserError(
            f"The data set {path.absolute()} cannot be read: {error.strerror or error}."
        ) from error
    found = [
        source for source in sources if source.suffix != ".json" or json_records.is_data(source, reading)
    ]
    skipped = Counter(Path(name).suffix or "without a suffix" for name in visible if name not in known)
    skipped[".json without a text"] = len(sources) - len(found)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()) if count)
    if not found:
        raise UserError(
            f"The folder {path.absolute()} contains no data files: looked for {', '.join(FORMATS)}, also with "
            f"{', '.join(COMPRESSED)} after it, found {listed or 'no file'}. {_example(path, visible)}"
        )
    if listed:
        say(f"INFO: files of other kinds in {path} are skipped: {listed}.")
    return found


def _example(folder: Path, names: list[str]) -> str:
    """What to do with a folder without data: with its first file, if that is of a known kind."""
    with suppress(OSError, IndexError):
        kind = file_kinds.foreign(read_beginning(folder / names[0], file_kinds.BEGINNING))
        if kind:
            return kind.sentence(names[0])
    return "Choose another folder, or one file, of any suffix, with data.dataset_file (--dataset-file)."


def pieces(source: Source, reading: Reading, tally: Tally) -> Iterator[Piece]:
    """The documents of a file, in order.

    Args:
        tally: counts what is read.

    Raises:
        UserError: the file cannot be read, or its content does not match its suffix.
    """
    with explained(source.path):
        yield from _READERS[source.format](source, reading, tally)


def _text(source: Source, reading: Reading, tally: Tally) -> Iterator[Piece]:
    refuse_text(reading, str(source.path.absolute()))
    with source.open() as file:
        yield from of_blocks(iter(lambda: file.read(PIECE), b""))


_READERS: dict[Format, Callable[[Source, Reading, Tally], Iterator[Piece]]] = {
    "text": _text,
    "JSON lines": json_records.pieces,
    "JSON": json_records.pieces,
    "CSV": tables.csv_pieces,
    "Parquet": tables.parquet_pieces,
}
