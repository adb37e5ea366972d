"""Documents as one sequence of tokens, each between the tokenizer's prefix and the end-of-text token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.documents import Piece
from trainer.data.entropy import BytePairs
from trainer.data.opening import Source
from trainer.data.sources import pieces
from trainer.errors import UserError
from trainer.models.huggingface_tokenizer import NotUtf8Error
from trainer.models.tokenizer import Tokenizer, with_prefix
from trainer.say import Say

Indices = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Append = Callable[[str, Array], None]  # extends the array of this name
ARRAYS = ("tokens", "ends", "byte_ends", "documents")
GROUP = 1 << 22  # bytes of text tokenized in one call
INTERVAL = 10.0  # seconds between two progress messages


@dataclass(frozen=True)
class Tokenized:
    """The tokens of all documents, and the P pieces of text they come from. A long document has several pieces.

    Attributes:
        tokens: in the narrowest unsigned type that holds the vocabulary.
        ends: (P,) cumulative number of tokens at the end of each piece.
        byte_ends: (P,) cumulative number of text bytes at the end of each piece.
        documents: (P,) index of the document that each piece belongs to.
        entropies: of the text, in bits per byte; see `BytePairs.entropies`.
    """

    tokens: Array
    ends: Indices
    byte_ends: Indices
    documents: Indices
    entropies: tuple[float, float]

    @property
    def document_ends(self) -> npt.NDArray[np.bool_]:
        """(P,) whether each piece is the last one of its document."""
        return np.append(self.documents[1:] != self.documents[:-1], len(self.documents) > 0)

    def document_of(self, positions: Indices) -> Indices:
        return self.documents[np.searchsorted(self.ends, positions, side="right")]


def narrowest(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest type that holds every token of a vocabulary."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def in_memory(sources: list[Source], tokenizer: Tokenizer, field: str | None, say: Say) -> Tokenized:
    """Tokenize a small data set."""
    return _collect(read(sources, field, Progress(sources, say)), tokenizer)


def of_text(text: Iterable[Piece], tokenizer: Tokenizer) -> Tokenized:
    """Tokenize a text in memory."""
    return _collect(text, tokenizer)


def _collect(text: Iterable[Piece], tokenizer: Tokenizer) -> Tokenized:
    kinds = dict.fromkeys(ARRAYS, np.int64) | {"tokens": narrowest(tokenizer.vocab_size)}
    parts: dict[str, list[Array]] = {name: [np.empty(0, dtype=kind)] for name, kind in kinds.items()}
    found = build(text, tokenizer, lambda name, array: parts[name].append(array))
    return Tokenized(**{name: np.concatenate(arrays) for name, arrays in parts.items()}, entropies=found)


def build(text: Iterable[Piece], tokenizer: Tokenizer, append: Append) -> tuple[float, float]:
    """Tokenize, append to the arrays of a `Tokenized` part by part, and return the entropies of the text."""
    pairs = BytePairs()
    kind = narrowest(tokenizer.vocab_size)
    tokens = size = document = 0
    begins = True
    for group in _grouped(text):
        encoded = _encode(group, begins, tokenizer)
        begins = group[-1].last
        lengths = [len(part) for part in encoded]
        lasts = np.array([piece.last for piece in group], dtype=np.int64)
        append("tokens", np.concatenate(encoded).astype(kind))
        append("ends", tokens + np.cumsum(lengths, dtype=np.int64))
        append("byte_ends", size + np.cumsum([len(piece.text) for piece in group], dtype=np.int64))
        append("documents", document + np.cumsum(lasts) - lasts)
        pairs.add(b"".join(piece.text for piece in group))
        tokens += sum(lengths)
        size += sum(len(piece.text) for piece in group)
        document += int(lasts.sum())
    return pairs.entropies()


def read(sources: list[Source], field: str | None, progress: Progress) -> Iterator[Piece]:
    """The documents of all files, without blank ones."""
    for source in sources:
        begins = True
        for piece in pieces(source, field):
            progress.read(source, len(piece.text))
            if not begins or not piece.last or piece.text.strip():
                yield Piece(piece.text, piece.last, f"{source.path.absolute()}, {piece.where}")
            begins = piece.last
        progress.done(source)


class Progress:
    """Reports reading progress every few seconds."""

    def __init__(self, sources: list[Source], say: Say) -> None:
        self._say = say
        self._total = sum(source.size for source in sources)
        self._files = self._file = 0  # bytes read of the finished files, and of the current one
        self._began = time.monotonic()
        self._next = self._began + INTERVAL

    def read(self, source: Source, size: int) -> None:
        self._file = min(self._file + size, source.size)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            done = self._files + self._file
            speed = done / (now - self._began)
            self._say(
                f"Tokenizing {source.name}: {done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB, {speed / 1e6:.1f} MB/s, "
                f"{(self._total - done) / max(speed, 1) / 60:.0f} minutes left"
            )

    def done(self, source: Source) -> None:
        self._files, self._file = self._files + source.size, 0


def _grouped(text: Iterable[Piece]) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    size = 0
    for piece in text:
        group.append(piece)
        size += len(piece.text)
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _encode(group: list[Piece], begins: bool, tokenizer: Tokenizer) -> list[npt.NDArray[np.int32]]:
    """The tokens of each piece: with the tokenizer's prefix before a document, and end-of-text after it.

    Args:
        begins: the first piece is the start of a document.
    """
    continued = [not begins, *(not piece.last for piece in group[:-1])]
    try:
        encoded = tokenizer.encode_batch([piece.text for piece in group], continued)
    except NotUtf8Error:
        for piece in group:  # find the piece that is not UTF-8
            try:
                tokenizer.encode(piece.text)
            except NotUtf8Error as error:
                raise UserError(f"The document at {piece.where} cannot be tokenized: {error}") from None
        raise
    encoded = [
        part if goes_on else with_prefix(tokenizer, part)
        for part, goes_on in zip(encoded, continued, strict=True)
    ]
    end = np.int32(tokenizer.end_id)
    return [np.append(part, end) if piece.last else part for piece, part in zip(group, encoded, strict=True)]
