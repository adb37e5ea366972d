"""Which window each layer of a model has: pure functions of settings, and of a model's configuration.

A model's windows are those of its architecture (Mistral's, Gemma's) and those that it was trained with here, which
stand in its configuration as `aios_windows`. Where a layer has both, the smaller one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Windows = tuple[int | None, ...]  # of each layer: tokens that a query sees, itself among them; None for all
Pattern = str | Sequence[int | None]

SLIDING, FULL = "S", "L"
LAYER_TYPES = (
    "sliding_attention",
    "full_attention",
)  # of those that transformers knows, the ones served here


def repeat(
    layers: int, window: int | None, pattern: Pattern = SLIDING, full_layers: Sequence[int] = ()
) -> Windows:
    """The windows of this many layers.

    Args:
        layers: how many there are.
        window: of the layers that the pattern calls S; None or 0 for all before it.
        pattern: letters, S for the window and L for none; or windows. Repeated until every layer has its own.
        full_layers: those without a window whatever the pattern says; -1 is the last.

    Raises:
        ValueError: another letter, a negative window, no letter at all, or a layer that is not there.
    """
    if isinstance(pattern, str):
        unknown = sorted(set(pattern) - {SLIDING, FULL})
        if unknown:
            raise ValueError(
                f"a window pattern is made of {SLIDING} (window) and {FULL} (none), got {pattern!r}"
            )
        pattern = [window if letter == SLIDING else None for letter in pattern]
    if not pattern:
        raise ValueError("a window pattern must not be empty")
    for size in pattern:
        if size is not None and size < 0:
            raise ValueError(f"window must not be negative, got {size}; use None or 0 for no window")
    missing = [index for index in full_layers if not -layers <= index < layers]
    if missing:
        raise ValueError(
            f"there is no layer {missing[0]}: the model has {layers}, counted from 0 (or from -1)"
        )
    full = {index % layers for index in full_layers}
    return tuple(None if i in full else pattern[i % len(pattern)] or None for i in range(layers))


def own_windows(config: Any) -> Windows:
    """The windows of an architecture, by its transformers configuration (`sliding_window`, `layer_types`).

    What else models have for it (`max_window_layers`, `use_sliding_window`, `sliding_window_pattern`) transformers has
    put into these two.
    """
    text = config.get_text_config(decoder=True)
    window = getattr(text, "sliding_window", None) or None
    types = getattr(text, "layer_types", None)
    if types is None:
        return tuple([window] * text.num_hidden_layers)
    return tuple(window if kind == "sliding_attention" else None for kind in types)


def asked_windows(config: Any) -> Windows:
    """The windows that a model was trained with here, beside those of its architecture."""
    text = config.get_text_config(decoder=True)
    return tuple(getattr(text, "aios_windows", None) or (None,) * text.num_hidden_layers)


def layer_windows(config: Any) -> Windows:
    """The windows that the layers of a model attend with."""
    return tuple(map(smaller, own_windows(config), asked_windows(config)))


def smaller(*windows: int | None) -> int | None:
    """The smallest of these windows; None where none is one."""
    there: list[int] = [window for window in windows if window]
    return min(there, default=None)
