"""Records how a model calls attention, and can cut every window to one token. For proofs on built models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TracedCall:
    """An attention call of a model, without its tensors.

    Attributes:
        layer: index of the layer; None if the module does not know it.
        query_heads, key_heads: H and H_kv.
        head_dim: width of queries and keys, or of values if these are wider.
        product_width: H * (width of keys + width of values) / 2, for counting FLOPs.
        window: keys that a query sees; None for all.
        documents: whether the call knows the documents of a packed row.
        dropout: probability.
        softcap: whether scores are capped.
    """

    layer: int | None
    query_heads: int
    key_heads: int
    head_dim: int
    product_width: int
    window: int | None = None
    documents: bool = False
    dropout: float = 0.0
    softcap: bool = False


@dataclass
class Trace:
    """The calls so far. With `blind`, a token sees only itself."""

    blind: bool = False
    calls: list[TracedCall] = field(default_factory=list)


_active: list[Trace] = []


@contextmanager
def traced(*, blind: bool = False) -> Iterator[Trace]:
    """While entered, the attention calls of all models of this process are recorded.

    Args:
        blind: let every token see only itself.
    """
    trace = Trace(blind)
    _active.append(trace)
    try:
        yield trace
    finally:
        _active.remove(trace)


def active() -> Trace | None:
    """The trace that is being recorded, if there is one."""
    return _active[-1] if _active else None
