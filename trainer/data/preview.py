"""What a training run would read from a file or folder, and what it would learn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import DataSection
from trainer.data.best_fit_packing import WholeRows
from trainer.data.dataset import tokenized
from trainer.data.instructions import Tally
from trainer.data.pairs import PairRows
from trainer.data.stream import make
from trainer.data.tokens import Indices, Tokenized
from trainer.models import chat_template
from trainer.models.chat_template import OWN
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say

PERCENTILES = (0, 50, 95, 100)
ANSWERS = ("chosen", "rejected")
EXAMPLE_TOKENS = 2000  # of a document that are shown at most


@dataclass(frozen=True)
class Example:
    """The beginning of a document.

    Attributes:
        tokens, learned: each token, and whether it is a target.
        text: the tokens as text, in parts: each with whether it is learned.
        length: of the whole document, in tokens.
        answer: chosen or rejected; None for a document that is not one of a pair.
    """

    tokens: list[int]
    learned: list[bool]
    text: list[tuple[str, bool]]
    length: int
    answer: str | None = None


@dataclass(frozen=True)
class Preview:
    """Figures of a data set.

    Attributes:
        template: how conversations are written; None without conversations.
        learned: number of tokens that are targets, before anything is cut.
        lengths: tokens of a document: the shortest, the median, 95%, the longest.
        sequences: of `max_length` tokens.
        filled: the part of the sequences that is not padding.
        cut, lost: conversations that are longer than a sequence, and the learned tokens after the cut.
        pairs: of answers, each in a sequence of its own; None without preference data.
    """

    tally: Tally
    template: str | None
    documents: int
    tokens: int
    learned: int
    lengths: list[int]
    max_length: int
    sequences: int
    filled: float
    cut: int
    lost: int
    examples: list[Example]
    pairs: PairRows | None = None

    @property
    def format(self) -> str:
        """The forms of the records, the most frequent first; text without records."""
        return ", ".join(name for name, _ in self.tally.shapes.most_common()) or "text"

    def to_json(self) -> dict[str, Any]:
        dropped = [
            {"reason": d.reason, "count": d.count, "first": d.where} for d in self.tally.dropped.values()
        ]
        return {
            "schema_version": 1,
            "format": self.format,
            "records": dict(self.tally.shapes),
            "dropped": dropped,
            "chat_template": self.template,
            "documents": self.documents,
            "tokens": self.tokens,
            "learned_tokens": self.learned,
            "lengths": dict(
                zip(("shortest", "median", "percentile_95", "longest"), self.lengths, strict=True)
            ),
            "max_length": self.max_length,
            "sequences": self.sequences,
            "filled": round(self.filled, 4),
            "cut": {"conversations": self.cut, "learned_tokens_lost": self.lost},
            "pairs": self.pairs
            and {"count": self.pairs.count, "cut": self.pairs.cut, "left_out": self.pairs.lost},
            "examples": [
                {
                    **({"answer": each.answer} if each.answer else {}),
                    "length": each.length,
                    "tokens": each.tokens,
                    "learned": each.learned,
                    "text": [{"text": text, "learned": learned} for text, learned in each.text],
                }
                for each in self.examples
            ],
        }


def preview(path: Path, settings: DataSection, tokenizer: Tokenizer, examples: int, say: Say) -> Preview:
    """Read and tokenize a data set, as a run with these settings would.

    Args:
        examples: number of documents to show.

    Raises:
        UserError: the data set is missing, unreadable, or nothing in it can be trained on.
    """
    template = chat_template.choose(settings.chat_template, tokenizer)
    source = tokenized(path, settings, tokenizer, template, say)
    end, size = len(source.tokens), int(source.byte_ends[-1])
    stream = make(
        source, 0, end, size, settings.max_length, tokenizer.pad_id, settings.packing, len(tokenizer.prefix)
    )
    starts, ends = stream.part.documents
    lengths = ends - starts
    rows, pairs = stream.rows, stream.pairs
    sequences = stream.blocks
    if pairs:
        sequences, examples = 2 * sequences, 2 * examples
    chat = source.tally.templated
    return Preview(
        tally=source.tally,
        template=(template.name if template.name != OWN else "the tokenizer's own") if chat else None,
        documents=len(ends),
        tokens=end,
        learned=stream.text_tokens,
        lengths=np.percentile(lengths, PERCENTILES, method="nearest").astype(int).tolist(),
        max_length=settings.max_length,
        sequences=sequences,
        filled=rows.places / max(sequences * settings.max_length, 1),
        cut=rows.cut if isinstance(rows, WholeRows) else 0,
        lost=rows.lost if isinstance(rows, WholeRows) else 0,
        examples=[
            _example(source, tokenizer, *bounds, ANSWERS[number % 2] if pairs else None)
            for number, bounds in enumerate(zip(starts[:examples], ends, strict=False))
        ],
        pairs=pairs,
    )


def _example(source: Tokenized, tokenizer: Tokenizer, start: int, end: int, answer: str | None) -> Example:
    positions: Indices = np.arange(start, min(end, start + EXAMPLE_TOKENS))
    learned = source.is_learned(positions)
    learned[:1] = False  # nothing predicts the first token
    tokens = source.tokens[positions].astype(np.int64)
    edges = [0, *(np.flatnonzero(learned[1:] != learned[:-1]) + 1).tolist(), len(tokens)]
    parts = [
        (tokenizer.written(tokens[first:last].tolist()), bool(learned[first]))
        for first, last in pairwise(edges)
        if first < last
    ]
    return Example(tokens.tolist(), learned.tolist(), parts, int(end - start), answer)
