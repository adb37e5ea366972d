"""Text for training: files to documents to tokens to rows, the held-out part, and the order in which rows are read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.data.batch import IGNORED, Batch
    from trainer.data.dataset import Dataset, load, stream_of
    from trainer.data.entropy import entropies
    from trainer.data.order import Order
    from trainer.data.stream import Stream
    from trainer.data.tokens import Indices

__all__ = ["IGNORED", "Batch", "Dataset", "Indices", "Order", "Stream", "entropies", "load", "stream_of"]

_MODULES = {
    "Dataset": "dataset",
    "load": "dataset",
    "stream_of": "dataset",
    "entropies": "entropy",
    "Order": "order",
    "IGNORED": "batch",
    "Batch": "batch",
    "Stream": "stream",
    "Indices": "tokens",
}


def __getattr__(name: str) -> Any:
    """Import torch only on first use: files are looked at before."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
