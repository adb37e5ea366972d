"""Which of many fixed texts a long text may contain: several times faster than searching for each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

RUN = re.compile("[A-Za-z]{3,}")  # letters in a row
# Only letters are looked up, and most words of a log that differ do so in their numbers
SAME_DIGITS = bytes.maketrans(b"123456789", 9 * b"0")
REMEMBERED = 300_000  # words of a log that are remembered: it repeats most of them
NEW = 3_000  # if a text has more new words, none is remembered: they are numbers and identifiers, which do not recur


@dataclass(frozen=True)
class _Needs:
    """What a text must have if it contains a fixed text: these runs as a whole, and these as parts of a run."""

    whole: frozenset[str]
    parts: frozenset[str]


class Prefilter:
    """Fixed texts, looked up by the runs of letters of a text."""

    def __init__(self, fixed: Iterable[str]) -> None:
        self.needs: dict[str, _Needs] = {}
        self.without_letters: list[str] = []
        for text in sorted(fixed):
            if needs := _needs(text):
                self.needs[text] = needs
            else:
                self.without_letters.append(text)
        self.whole = frozenset[str]().union(*(needs.whole for needs in self.needs.values()))
        self.parts = sorted(frozenset[str]().union(*(needs.parts for needs in self.needs.values())))
        self.without: set[str] = set()  # words in which there is nothing
        self.found: dict[str, _Needs] = {}  # what is in the others

    def candidates(self, text: str) -> Iterator[str]:
        """The fixed texts that `text` may contain: all that it contains, and few others."""
        words = set(_with_same_digits(text).split())
        new = words - self.without - self.found.keys()
        known = [self.found[word] for word in words & self.found.keys()]
        has = [*known, self._remembered(new)]
        whole = frozenset[str]().union(*(each.whole for each in has))
        parts = frozenset[str]().union(*(each.parts for each in has))
        for fixed, needs in self.needs.items():
            if needs.whole <= whole and needs.parts <= parts:
                yield fixed
        for fixed in self.without_letters:
            if fixed in text:
                yield fixed

    def _remembered(self, words: set[str]) -> _Needs:
        """What is in these words, which are remembered."""
        every = self._looked_up("\n".join(words), self.parts)
        if len(self.without) + len(self.found) > REMEMBERED:
            self.without.clear()
            self.found.clear()
        if len(words) <= NEW:
            for word in words:
                has = self._looked_up(word, every.parts)
                if has.whole or has.parts:
                    self.found[word] = has
                else:
                    self.without.add(word)
        return every

    def _looked_up(self, text: str, parts: Iterable[str]) -> _Needs:
        return _Needs(
            self.whole.intersection(RUN.findall(text)), frozenset(part for part in parts if part in text)
        )


def _with_same_digits(text: str) -> str:
    """`text` with every digit written as 0: as bytes, since str.translate takes 40 times as long if one character is not ASCII."""
    encoded = text.encode("utf-8", "surrogatepass")
    return encoded.translate(SAME_DIGITS).decode("utf-8", "surrogatepass")


def _needs(text: str) -> _Needs | None:
    """What a text with `text` in it must have; None if nothing that can be looked up."""
    whole: set[str] = set()
    parts: set[str] = set()
    for run in RUN.finditer(text):
        at_an_edge = run.start() == 0 or run.end() == len(text)
        (parts if at_an_edge else whole).add(run.group())
    return _Needs(frozenset(whole), frozenset(parts)) if whole or parts else None
