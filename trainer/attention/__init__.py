"""Causal attention with a sliding window, packed documents and grouped heads: one function, several backends.

The definition, for every backend: query i sees key j if ``j <= i`` and ``i - j < window`` and
``document[i] == document[j]``. Positions are absolute. If there are fewer queries than keys, they are the last ones.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.attention.definition import mask
    from trainer.attention.interface import attention

__all__ = ["attention", "mask"]

_MODULES = {"attention": "trainer.attention.interface", "mask": "trainer.attention.definition"}


def __getattr__(name: str) -> Any:
    """Import torch only on first use: `prove` must run without it, to report that it is missing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
