"""Two runs side by side, as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainer.records.comparison import Comparison

NOTHING = "-"
WIDEST = 40  # characters of a value
Row = tuple[str, ...]


def side_by_side(found: Comparison) -> str:
    """Tables of what differs, the results, and the losses after the same steps."""
    a, b = found.runs
    differences = [
        (key, _value(one), _value(other))
        for part in (found.configuration, found.versions)
        for key, (one, other) in part.items()
    ]
    results = [
        ("state", a.state, b.state),
        ("steps", f"{a.step:,}", f"{b.step:,}"),
        ("loss", _loss(a.loss), _loss(b.loss)),
        ("held-out loss", _loss(a.eval_loss), _loss(b.eval_loss)),
        ("lowest held-out loss", *map(_loss, found.lowest)),
        ("bits per byte", _loss(a.bits_per_byte), _loss(b.bits_per_byte)),
        (
            "tokens/s",
            *(
                NOTHING if each is None else f"{each:,.0f}"
                for each in (a.tokens_per_second, b.tokens_per_second)
            ),
        ),
        ("attention", a.backend or NOTHING, b.backend or NOTHING),
    ]
    losses = [(f"{point.step:,}", *map(_loss, point.loss)) for point in found.points]
    held_out = [
        (f"{point.step:,}", *map(_loss, point.held_out))
        for point in found.points
        if any(value is not None for value in point.held_out)
    ]
    heading = ("", f"A: {a.name}", f"B: {b.name}")
    parts = [
        _table("Different settings" if differences else "The settings are the same.", differences),
        _table("Results", results),
        _table("Training loss at step", losses),
        _table("Held-out loss at step", held_out) if held_out else "",
    ]
    return "\n\n".join([f"{heading[1]}\n{heading[2]}", *filter(None, parts)])


def _table(title: str, rows: Sequence[Row]) -> str:
    if not rows:
        return title
    all_rows = [(title, "A", "B"), *rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(2)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in all_rows)


def _loss(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _value(value: Any) -> str:
    text = (
        NOTHING
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
    )
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
