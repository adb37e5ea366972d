"""Documents as one sequence of tokens, each between the tokenizer's prefix and the end-of-text token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.documents import Piece
from trainer.data.entropy import BytePairs
from trainer.data.instructions import Reading, Tally
from trainer.data.opening import Source
from trainer.data.sources import pieces
from trainer.errors import UserError
from trainer.models.huggingface_tokenizer import NotUtf8Error
from trainer.models.tokenizer import Tokenizer, with_prefix
from trainer.say import Say

Indices = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Append = Callable[[str, Array], None]  # extends the array of this name
ARRAYS = ("tokens", "ends", "byte_ends", "documents", "ignored")
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
        ignored: (2 R,) start and end of the R ranges of tokens that are no targets, in order. Of a conversation, the bytes
            and entropies are those of its answers.
        entropies: of the text, in bits per byte; see `BytePairs.entropies`.
        tally: what was read, and what was dropped.
        largest: the largest token; None if unknown.
    """

    tokens: Array
    ends: Indices
    byte_ends: Indices
    documents: Indices
    ignored: Indices
    entropies: tuple[float, float]
    tally: Tally
    largest: int | None = None

    def documents_before(self, position: int) -> int:
        """The number of documents that begin before a token, without reading the whole arrays."""
        if position <= 0 or not len(self.ends):
            return 0
        last = min(position, int(self.ends[-1])) - 1
        return int(self.document_of(np.array([last]))[0]) + 1

    @property
    def document_ends(self) -> npt.NDArray[np.bool_]:
        """(P,) whether each piece is the last one of its document."""
        return np.append(self.documents[1:] != self.documents[:-1], len(self.documents) > 0)

    def is_learned(self, positions: Indices) -> npt.NDArray[np.bool_]:
        """Whether the tokens at these positions may be targets."""
        learned: npt.NDArray[np.bool_] = np.searchsorted(self.ignored, positions, side="right") % 2 == 0
        return learned

    def document_of(self, positions: Indices) -> Indices:
        return self.documents[np.searchsorted(self.ends, positions, side="right")]


def narrowest(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest type that holds every token of a vocabulary."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def in_memory(sources: list[Source], tokenizer: Tokenizer, reading: Reading, say: Say) -> Tokenized:
    """Tokenize a small data set."""
    tally = Tally()
    return _collect(read(sources, reading, Progress(sources, say), tally), tokenizer, tally)


def of_text(text: Iterable[Piece], tokenizer: Tokenizer) -> Tokenized:
    """Tokenize a text in memory."""
    return _collect(text, tokenizer, Tally())


def _collect(text: Iterable[Piece], tokenizer: Tokenizer, tally: Tally) -> Tokenized:
    kinds = dict.fromkeys(ARRAYS, np.int64) | {"tokens": narrowest(tokenizer.vocab_size)}
    parts: dict[str, list[Array]] = {name: [np.empty(0, dtype=kind)] for name, kind in kinds.items()}
    found = build(text, tokenizer, lambda name, array: parts[name].append(array))
    arrays: dict[str, Any] = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return Tokenized(**arrays, entropies=found.entropies(), tally=tally)


def build(text: Iterable[Piece], tokenizer: Tokenizer, append: Append) -> BytePairs:
    """Tokenize, append to the arrays of a `Tokenized` part by part, and return the byte pairs of the text."""
    pairs = BytePairs()
    kind = narrowest(tokenizer.vocab_size)
    tokens = size = document = 0
    begins = True
    for group in _grouped(text):
        encoded, ignored = _encode(group, begins, tokenizer)
        begins = group[-1].last
        lengths = [len(part) for part in encoded]
        learned = [_learned(piece) for piece in group]
        lasts = np.array([piece.last for piece in group], dtype=np.int64)
        append("tokens", np.concatenate(encoded).astype(kind))
        append("ends", tokens + np.cumsum(lengths, dtype=np.int64))
        append("byte_ends", size + np.cumsum([*map(len, learned)], dtype=np.int64))
        append("documents", document + np.cumsum(lasts) - lasts)
        begins_at = tokens + np.cumsum([0, *lengths[:-1]], dtype=np.int64)
        append("ignored", np.concatenate([at + its for at, its in zip(begins_at, ignored, strict=True)]))
        pairs.add(b"".join(learned))
        tokens += sum(lengths)
        size += sum(map(len, learned))
        document += int(lasts.sum())
    return pairs


def _learned(piece: Piece) -> bytes:
    """The text of a piece that is learned."""
    if piece.answers is None:
        return piece.text
    text = piece.text.decode("utf-8")
    return "".join(text[start:end] for start, end in piece.answers).encode("utf-8")


def read(sources: list[Source], reading: Reading, progress: Progress, tally: Tally) -> Iterator[Piece]:
    """The documents of all files, without blank ones."""
    for source in sources:
        begins = True
        for piece in pieces(source, reading, tally):
            progress.read(source, len(piece.text))
            if not begins or not piece.last or piece.text.strip():
                yield replace(piece, where=f"{source.path.absolute()}, {piece.where}")
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


def _encode(
    group: list[Piece], begins: bool, tokenizer: Tokenizer
) -> tuple[list[npt.NDArray[np.int32]], list[Indices]]:
    """The tokens of each piece, and the ranges of them that are no targets.

    Args:
        begins: the first piece is the start of a document.
    """
    written = iter(_encode_answers([piece for piece in group if piece.answers is not None], tokenizer))
    texts = iter(_encode_texts(group, begins, tokenizer))
    encoded, ignored = [], []
    for piece in group:
        if piece.answers is None:
            encoded.append(next(texts))
            ignored.append(np.empty(0, dtype=np.int64))
        else:
            tokens, learned = next(written)
            encoded.append(tokens)
            edges = np.flatnonzero(np.diff(learned, prepend=True, append=True))
            ignored.append(edges.astype(np.int64))
    return encoded, ignored


def _encode_answers(
    pieces: list[Piece], tokenizer: Tokenizer
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]]:
    """The tokens of each conversation, and which of them are learned."""
    texts = [piece.text.decode("utf-8") for piece in pieces]
    edges = [sorted({0, *piece.cuts, len(text)}) for piece, text in zip(pieces, texts, strict=True)]
    parts = [
        (
            text[start:end],
            [
                (max(a, start) - start, min(b, end) - start)
                for a, b in piece.answers or ()
                if a < end and start < b
            ],
        )
        for piece, text, its in zip(pieces, texts, edges, strict=True)
        for start, end in pairwise(its)
    ]
    encoded = iter(tokenizer.encode_spans([text for text, _ in parts], [spans for _, spans in parts]))
    for its in edges:
        tokens, learned = zip(*(next(encoded) for _ in its[1:]), strict=True)
        yield np.concatenate(tokens), np.concatenate(learned)


def _encode_texts(group: list[Piece], begins: bool, tokenizer: Tokenizer) -> list[npt.NDArray[np.int32]]:
    """The tokens of each piece of text: with the tokenizer's prefix before a document, and end-of-text after it."""
    follows = zip(group, [not begins, *(not piece.last for piece in group[:-1])], strict=True)
    text = [(piece, continued) for piece, continued in follows if piece.answers is None]
    pieces, continued = [piece for piece, _ in text], [goes_on for _, goes_on in text]
    try:
        encoded = tokenizer.encode_batch([piece.text for piece in pieces], continued)
    except NotUtf8Error:
        for piece in pieces:  # find the piece that is not UTF-8
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
    return [np.append(part, end) if piece.last else part for piece, part in zip(pieces, encoded, strict=True)]
