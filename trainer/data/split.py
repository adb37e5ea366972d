"""Where the held-out part at the end of a data set starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.tokens import Tokenized
from trainer.models.decoding import CONTEXT
from trainer.models.tokenizer import Tokenizer

NEAR = 1000  # tokens to search for a line end


@dataclass(frozen=True)
class Cut:
    """A position in the data set; the text from here on is held out.

    Attributes:
        token, byte: number of tokens and of text bytes before it.
        inside: it is in the middle of a document, because no document ends close to it.
    """

    token: int
    byte: int
    inside: bool = False


START = Cut(0, 0)


def end(source: Tokenized) -> Cut:
    """The end of the data set."""
    return _after(source, len(source.ends))


def tail(source: Tokenized, tokenizer: Tokenizer, fraction: float) -> Cut:
    """The cut that holds out about this fraction of the text.

    It is at the end of a document if that holds out between half and twice the fraction, else inside a document.
    """
    total = int(source.byte_ends[-1])
    wanted = int(total * fraction)
    piece = min(int(np.searchsorted(source.byte_ends, total - wanted, side="right")), len(source.ends) - 1)
    document = int(source.documents[piece])
    first, last = document, document
    if source.tally.pairs:  # both documents of a pair are in the same part
        first, last = document - document % 2, document - document % 2 + 1
    sides = np.searchsorted(source.documents, first), np.searchsorted(source.documents, last, "right")
    boundaries = [_after(source, int(side)) for side in sides]
    near = [cut for cut in boundaries if wanted <= 2 * (total - cut.byte) <= 4 * wanted and cut.token > 0]
    if source.tally.conversations:  # they are never split
        near = [cut for cut in boundaries if 0 < cut.token < source.ends[-1]]
    if near:
        return min(near, key=lambda cut: abs(total - cut.byte - wanted))
    return _inside(source, piece, total - wanted, tokenizer)


def _after(source: Tokenized, pieces: int) -> Cut:
    """The cut after this number of pieces."""
    return Cut(int(source.ends[pieces - 1]), int(source.byte_ends[pieces - 1])) if pieces else START


def _inside(source: Tokenized, piece: int, byte: int, tokenizer: Tokenizer) -> Cut:
    """The cut near a byte of a piece: after a line end if there is one soon, and never inside a character."""
    begin, behind = _after(source, piece), _after(source, piece + 1)
    share = (byte - begin.byte) / max(behind.byte - begin.byte, 1)
    guess = begin.token + int(share * (behind.token - begin.token))
    soon = min(guess + NEAR, (guess + len(source.tokens)) // 2, behind.token)
    token = _line_end(source, max(guess - 8, begin.token), guess, soon, tokenizer)
    context = source.tokens[max(begin.token - CONTEXT, 0) : begin.token].tolist()
    before = len(tokenizer.decode(source.tokens[begin.token : token].tolist(), context))
    return Cut(token, min(begin.byte + before, behind.byte), inside=True)


def _line_end(source: Tokenized, first: int, guess: int, soon: int, tokenizer: Tokenizer) -> int:
    """The first token after a line end in guess … soon, else the first one after a whole character."""
    decoder = tokenizer.decoder()
    whole = None
    for position in range(first, soon):
        text = decoder.decode(int(source.tokens[position]))
        if position + 1 < guess or not text:
            continue
        if text.endswith("\n"):
            return position + 1
        whole = whole or position + 1
    return whole or guess
