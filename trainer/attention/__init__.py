"""Causal attention with a sliding window, packed documents and grouped heads: one function, several backends.

The definition, for every backend: query i sees key j when ``j <= i`` and ``i - j < window`` and
``document[i] == document[j]``. Positions are absolute; fewer queries than keys are the last ones.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.attention.definition import mask
    from trainer.attention.interface import attention

__all__ = ["attention", "mask"]

_HOME = {"attention": "trainer.attention.interface", "mask": "trainer.attention.definition"}


def __getattr__(name: str) -> Any:
    """Import torch on first use only: `prove` must be able to say that there is none."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
