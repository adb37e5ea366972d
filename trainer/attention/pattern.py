"""The window of each layer of a model: pure functions of settings, and of a model's configuration.

A model has the windows of its architecture (Mistral, Gemma) and those that it was trained with here, which its
configuration stores as `aios_windows`. If a layer has both, the smaller one applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Windows = tuple[int | None, ...]  # per layer: tokens that a query sees, including itself; None for all
Pattern = str | Sequence[int | None]

SLIDING, FULL = "S", "L"
LAYER_TYPES = (
    "sliding_attention",
    "full_attention",
)  # the layer types of transformers that `attention` supports


def repeat(
    layers: int, window: int | None, pattern: Pattern = SLIDING, full_layers: Sequence[int] = ()
) -> Windows:
    """The window of each layer, by repeating a pattern.

    Args:
        layers: number of layers.
        window: of the layers that the pattern calls S; None or 0 for no window.
        pattern: letters, S for the window and L for none, or a list of windows. Repeated until every layer has one.
        full_layers: layers without a window, regardless of the pattern; -1 is the last.

    Raises:
        ValueError: another letter, a negative window, an empty pattern, or a layer that does not exist.
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
            f"there is no layer {missing[0]}: the model has {layers}, counted from 0, or from -1 for the last"
        )
    full = {index % layers for index in full_layers}
    return tuple(None if i in full else pattern[i % len(pattern)] or None for i in range(layers))


def own_windows(config: Any) -> Windows:
    """The windows of a model's architecture, from its transformers configuration (`sliding_window`, `layer_types`).

    transformers has already converted other settings (`max_window_layers`, `use_sliding_window`,
    `sliding_window_pattern`) to these two.
    """
    text = config.get_text_config(decoder=True)
    window = getattr(text, "sliding_window", None) or None
    types = getattr(text, "layer_types", None)
    if types is None:
        return (window,) * _layers(text)
    return tuple(window if kind == "sliding_attention" else None for kind in types)


def trained_windows(config: Any) -> Windows:
    """The windows that a model was trained with here, in addition to those of its architecture.

    Raises:
        ValueError: the configuration has something else in their place.
    """
    text = config.get_text_config(decoder=True)
    windows = getattr(text, "aios_windows", None)
    layers = _layers(text)
    if windows is None:
        return (None,) * layers
    if not isinstance(windows, list | tuple) or len(windows) != layers or not all(map(_is_window, windows)):
        raise ValueError(
            f"aios_windows must be a list of {layers} windows, each a number of tokens or null, got {windows!r}"
        )
    return tuple(windows)


def _is_window(value: object) -> bool:
    return value is None or (type(value) is int and value > 0)


def _layers(text: Any) -> int:
    """The number of layers; 0 if the configuration has no such key, as with some encoders."""
    return getattr(text, "num_hidden_layers", None) or 0


def layer_windows(config: Any) -> Windows:
    """The windows that the layers of a model use: the smaller of both."""
    return tuple(map(smallest, own_windows(config), trained_windows(config)))


def smallest(*windows: int | None) -> int | None:
    """The smallest of these windows; None if there is no window."""
    sizes: list[int] = [window for window in windows if window]
    return min(sizes, default=None)
