"""Text from tokens, one token at a time: the pieces together are the text that all tokens have at once.

Tokens have no text of their own. A SentencePiece decoder takes the space off the first token that it is given, WordPiece puts
one before every token except the first, and a character may be spread over several tokens. So each token is decoded with
the tokens before it, and its text is what it adds to theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

INCOMPLETE = "\ufffd"  # how decoders show the first bytes of a character
CHARACTER = 4  # bytes, and so tokens, of the longest character in UTF-8
CONTEXT = 8  # tokens before the first one to decode; few, as the cost of each step grows with them

Decode = Callable[[list[int]], str]


class StreamingDecoder:
    """Returns text as soon as further tokens cannot change it.

    Args:
        decode: the text of a list of tokens.
        before: the tokens that the text continues, such as those of a prompt.
    """

    def __init__(self, decode: Decode, before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = _context(decode, before)
        self._returned = _complete(decode, self._tokens)  # number of tokens whose text has been returned

    @property
    def context(self) -> list[int]:
        """The tokens that are decoded with the next one, and whose text has been returned."""
        return self._tokens[: self._returned]

    def decode(self, token: int) -> str:
        """The text that this token completes; empty while a character is incomplete."""
        self._tokens.append(token)
        new = self._new_text()
        if not new or new.endswith(INCOMPLETE):
            return ""
        # The tokens that gave this text are enough to decode the next ones, so the cost stays bounded.
        self._tokens = self._tokens[self._returned :]
        self._returned = len(self._tokens)
        return new

    def flush(self) -> str:
        """The remaining text: a replacement character if the last character is incomplete."""
        return self._new_text()

    def _new_text(self) -> str:
        before = self._decode(self.context)
        return self._decode(self._tokens)[len(before) :]


def _context(decode: Decode, before: Sequence[int]) -> list[int]:
    """The last tokens of `before`: from the start of a character, and with text, since special tokens have none."""
    for length in range(CONTEXT, CONTEXT + CHARACTER):
        last = list(before[-length:])
        text = decode(last)
        if text and not text.startswith(INCOMPLETE):
            return last
    return list(before)


def _complete(decode: Decode, tokens: list[int]) -> int:
    """The number of tokens up to the last complete character."""
    for length in range(len(tokens), max(len(tokens) - CHARACTER, -1), -1):
        if not decode(tokens[:length]).endswith(INCOMPLETE):
            return length
    return len(tokens)
