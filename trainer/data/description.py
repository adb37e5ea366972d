"""What was found in a data set, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.config import DataSection
from trainer.data.best_fit_packing import WholeRows
from trainer.data.instructions import PREFERENCE, TEXT, Tally
from trainer.data.stream import Stream
from trainer.models.chat_template import OWN, ChatTemplate

NAMES = {
    "messages": "messages",
    "sharegpt": "ShareGPT",
    "alpaca": "Alpaca (instruction and output)",
    "prompt-completion": "prompt and completion",
    "segments": "segments (texts, learned or not)",
    PREFERENCE: "preference (a chosen and a rejected answer)",
    TEXT: "text",
}


def of_records(tally: Tally) -> Iterator[str]:
    """The shapes that were recognized, and what was dropped."""
    if tally.conversations:
        yield f"INFO: recognized {shapes(tally)}. --data-format reads all records as one form."
    for note in tally.notes.values():
        yield f"WARNING: {note.reason}: {note.count:,} {_records(note.count)}, the first at {note.where}."
    if tally.dropped:
        yield f"WARNING: {of_dropped(tally)}"


def shapes(tally: Tally) -> str:
    counts = [f"{count:,} {_records(count)} of {NAMES[name]}" for name, count in tally.shapes.most_common()]
    return ", ".join(counts)


def of_dropped(tally: Tally) -> str:
    """How many records were dropped for each reason, and where the first one is."""
    reasons = sorted(tally.dropped.values(), key=lambda each: -each.count)
    listed = "; ".join(
        f"{each.count:,} because of: {each.reason} (the first: {each.where})" for each in reasons
    )
    total = sum(each.count for each in reasons)
    return f"{total:,} {_records(total)} {'was' if total == 1 else 'were'} dropped: {listed}."


def of_streams(streams: Sequence[Stream], settings: DataSection, template: ChatTemplate) -> Iterator[str]:
    """What is learned from the conversations of a data set, and what is cut."""
    name = (
        "the tokenizer's own chat template" if template.name == OWN else f"the chat template {template.name}"
    )
    if any(each.pairs for each in streams):
        yield from _of_pairs(streams, name, settings)
        return
    tokens, learned = sum(len(each.tokens) for each in streams), sum(each.text_tokens for each in streams)
    written, answers = f"conversations are written with {name}", "answers"
    if not any(each.part.source.tally.templated for each in streams):
        written, answers = (
            "segments are tokenized one by one, without a chat template",
            "segments with the label true",
        )
    part = (
        f"the {answers}, {learned:,} of {tokens:,} tokens"
        if settings.train_on == "answers"
        else f"all {tokens:,} tokens"
    )
    yield f"INFO: {written}; the loss is on {part} (data.train_on, --train-on)."
    rows = [stream.rows for stream in streams if isinstance(stream.rows, WholeRows)]
    cut, lost = sum(each.cut for each in rows), sum(each.lost for each in rows)
    if cut:
        yield (
            f"WARNING: {cut:,} conversation{'s are' if cut > 1 else ' is'} longer than data.max_length = "
            f"{settings.max_length} tokens, and cut there: {lost:,} tokens of answers are not learned. To learn them, set a "
            "larger data.max_length (--max-length)."
        )


def _of_pairs(streams: Sequence[Stream], template: str, settings: DataSection) -> Iterator[str]:
    pairs = [each.pairs for each in streams if each.pairs]
    count, cut, lost = (sum(getattr(each, name) for each in pairs) for name in ("count", "cut", "lost"))
    yield f"INFO: {count:,} pairs of answers are written with {template}; the loss compares their probabilities."
    limit = f"data.max_length = {settings.max_length} tokens"
    advice = "To learn them, set a larger data.max_length (--max-length)."
    if cut:
        yield f"WARNING: {cut:,} {'pair has' if cut == 1 else 'pairs have'} an answer that is cut at {limit}. {advice}"
    if lost:
        yield f"WARNING: {lost:,} {'pair is' if lost == 1 else 'pairs are'} left out: the prompt alone has {limit}. {advice}"


def _records(count: int) -> str:
    return "record" if count == 1 else "records"
