"""What is asked of an attention backend: the options of a call, and everything that decides whether it can serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Options:
    """What a call asks for besides its q, k and v: every backend gets the same.

    Attributes:
        window: keys that a query sees, itself among them, fewer than there are keys; None for all.
        document_ids: (B, S_k) integers; a query sees keys of its own document only.
        scale: what scores are multiplied with.
        dropout: probability that a weight is dropped.
        softcap: scores become softcap * tanh(score / softcap); None leaves them (Gemma 2, arXiv:2408.00118).
    """

    window: int | None
    document_ids: Tensor | None
    scale: float
    dropout: float = 0.0
    softcap: float | None = None


@dataclass(frozen=True)
class AttentionRequest:
    """A plain description of an attention call, with no tensors in it, so that the choice needs no GPU.

    Attributes:
        device: "cpu" or "cuda:N".
        dtype: "float32", "float16" or "bfloat16".
        head_dim: size of a head.
        query_heads, key_heads: H and H_kv; H is a multiple of H_kv.
        window: tokens that a query sees, itself among them; None for all.
        packed: several documents in a row (`document_ids` given).
        dropout: probability.
        softcap: scores are capped.
        training: a backward pass follows.
    """

    device: str
    dtype: str
    head_dim: int
    query_heads: int
    key_heads: int
    window: int | None = None
    packed: bool = False
    dropout: float = 0.0
    softcap: bool = False
    training: bool = True
