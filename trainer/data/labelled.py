"""Records of labelled segments: a text in parts, each with whether it is learned. No chat template is needed.

This is the format `input_output` of axolotl 0.19 (axolotl-ai-cloud/axolotl, src/axolotl/prompt_strategies/input_output.py):
each segment is tokenized by itself, without special tokens other than those that are written in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

from trainer.data.messages import NotAConversationError, UnusableError
from trainer.models.answer_spans import Rendering

Record = Mapping[str, Any]
NAME = "segments"  # the value of data.format, and the field
FIELDS = "a list of segments with label (true: learned) and text, named segments"


def matches(record: Record) -> bool:
    """Whether a record has segments with a label. Those of transcripts have none."""
    segments = record.get(NAME)
    return isinstance(segments, list) and any(
        isinstance(each, Mapping) and {"label", "text"} <= each.keys() for each in segments
    )


def rendering(record: Record) -> Rendering:
    """The text of a record, and the segments that are learned.

    Raises:
        NotAConversationError: a segment has no text, or a label that is neither true nor false.
        UnusableError: no segment is learned.
    """
    segments = [_segment(each) for each in record[NAME]]
    edges = [0, *accumulate(len(text) for text, _ in segments)]
    learned = tuple(
        span
        for span, (_, label) in zip(pairwise(edges), segments, strict=True)
        if label and span[0] < span[1]
    )
    if not learned:
        raise UnusableError("no segment has the label true and a text")
    return Rendering("".join(text for text, _ in segments), learned, tuple(edges[1:-1]))


def _segment(value: Any) -> tuple[str, bool]:
    text, label = (value.get("text"), value.get("label")) if isinstance(value, Mapping) else (None, None)
    if not isinstance(text, str) or label not in (True, False):
        raise NotAConversationError(
            f"a segment is {str(value)[:80]}. It needs a text, and a label that is true or false"
        )
    return text, bool(label)
