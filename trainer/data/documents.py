"""The documents in a text, in pieces, so that no document has to fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MARK = b"<|endoftext|>"
LONGEST_SEPARATOR = len(b"\r\n" + MARK + b"\r\n")
PIECE = 1 << 18  # approximate bytes of text in a piece
BOM = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"


@dataclass(frozen=True)
class Piece:
    """The text of a document, or a part of a long document.

    Attributes:
        last: the document ends with this piece.
        where: the position in the file, for messages.
        answers: of a conversation, the characters (start, end) that are learned; None for text, of which all is learned.
        cuts: of a conversation, characters at which a token begins: the parts are tokenized one by one.
    """

    text: bytes
    last: bool
    where: str
    answers: tuple[tuple[int, int], ...] | None = None
    cuts: tuple[int, ...] = ()


def of_text(text: bytes) -> Iterator[Piece]:
    """The documents of a text, separated by <|endoftext|>."""
    return of_blocks(iter([text]))


def of_blocks(blocks: Iterator[bytes]) -> Iterator[Piece]:
    """The documents of a text that is read block by block."""
    rest, done, more = b"", 0, True  # `done`: bytes before `rest`
    while more:
        block = next(blocks, b"")
        more = bool(block)
        rest += block
        if not done and rest.startswith(BOM):
            rest, done = rest[len(BOM) :], len(BOM)
        start = 0
        for begin, end in _separators(rest):
            if more and end + 2 > len(rest):
                break  # the line end after the mark may be in the next block
            yield from cut(rest[start:begin], done + start)
            start = end
        # The end of `rest` may be a part of a separator, which does not count.
        while more and is_long(rest, start + LONGEST_SEPARATOR):
            end = boundary(rest, start)
            yield Piece(rest[start:end], False, f"byte {done + start}")
            start = end
        rest, done = rest[start:], done + start
    yield from cut(rest, done)


def _separators(text: bytes) -> Iterator[tuple[int, int]]:
    """The start and end of each separator: the mark, with the line end before and after it."""
    end = 0
    while (mark := text.find(MARK, end)) >= 0:
        line_ends = (b"\r\n", b"\n", b"")
        begin = mark - next(len(line) for line in line_ends if text.endswith(line, end, mark))
        end = mark + len(MARK)
        end += next(len(line) for line in line_ends if text.startswith(line, end))
        yield begin, end


def cut(document: bytes, offset: int) -> Iterator[Piece]:
    """A document, or the rest of one, cut into pieces."""
    start = 0
    while is_long(document, start):
        end = boundary(document, start)
        yield Piece(document[start:end], False, f"byte {offset + start}")
        start = end
    yield Piece(document[start:], True, f"byte {offset + start}")


def is_long(text: bytes, start: int) -> bool:
    return len(text) - start > PIECE + LONGEST_SEPARATOR


def boundary(text: bytes, start: int) -> int:
    """Where to cut a long text without changing its tokens: before a single space between two words.

    Without such a space, before any white space; without white space, between two characters.
    """
    first, end = start + PIECE // 2, start + PIECE
    while (end := text.rfind(b" ", first, end)) >= 0:
        if text[end - 1] not in SPACE and text[end + 1] not in SPACE:
            return end
    end = max(text.rfind(bytes([space]), first, start + PIECE) for space in SPACE)
    if end >= 0:
        return end
    end = start + PIECE
    while end > start + PIECE - 4 and text[end] & 0xC0 == 0x80:
        end -= 1
    return end
