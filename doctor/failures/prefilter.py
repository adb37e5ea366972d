"""Which of many fixed texts a long text may contain: several times faster than searching for each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

PART = 5  # characters that texts have in common


class Prefilter:
    """Fixed texts, grouped by something that a text must contain if it contains one of them.

    A fixed text of three words or more contains a whole word, which is looked up in the set of the words. The others are
    searched in groups that have a part in common.
    """

    def __init__(self, fixed: Iterable[str]) -> None:
        self.by_word: dict[str, list[str]] = defaultdict(list)
        self.by_part: dict[str, list[str]] = {}
        rest = []
        for text in sorted(fixed):
            if whole := text.split(" ")[1:-1]:
                self.by_word[max(whole, key=len)].append(text)
            else:
                rest.append(text)
        while rest:
            part = _most_common_part(rest)
            self.by_part[part] = [text for text in rest if part in text]
            rest = [text for text in rest if part not in text]

    def candidates(self, text: str) -> Iterator[str]:
        """The fixed texts that `text` may contain: all that it contains, and few others."""
        for word in self.by_word.keys() & set(text.split()):
            yield from self.by_word[word]
        for part, texts in self.by_part.items():
            if part in text:
                yield from texts


def _most_common_part(texts: Iterable[str]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for text in texts:
        for part in {text[i : i + PART] for i in range(max(len(text) - PART + 1, 1))}:
            counts[part] += 1
    return max(sorted(counts), key=counts.__getitem__)
