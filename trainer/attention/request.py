"""An attention call as a backend gets it: its options, and a plain description by which a backend is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Options:
    """The options of a call in addition to q, k and v, the same for every backend.

    Attributes:
        window: keys that a query sees, including its own; less than the number of keys; None for all.
        document_ids: (B, S_k) integers; a query sees keys of its own document only.
        scale: factor of the scores.
        dropout: probability that a weight is dropped.
        softcap: scores become softcap * tanh(score / softcap); None leaves them as they are (Gemma 2, arXiv:2408.00118).
    """

    window: int | None
    document_ids: Tensor | None
    scale: float
    dropout: float = 0.0
    softcap: float | None = None


@dataclass(frozen=True)
class AttentionRequest:
    """An attention call without its tensors, so that choosing a backend needs no GPU.

    Attributes:
        device: "cpu" or "cuda:N".
        dtype: "float32", "float16" or "bfloat16".
        head_dim: D.
        query_heads, key_heads: H and H_kv; H is a multiple of H_kv.
        window: keys that a query sees, including its own; None for all.
        packed: several documents in a row (`document_ids` given).
        dropout: probability.
        softcap: scores are capped.
        training: a backward pass follows.
        query_length, key_length: S_q and S_k; None while they are not known.
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
    query_length: int | None = None
    key_length: int | None = None

    @property
    def not_on_gpu(self) -> list[str]:
        """The reason against kernels for NVIDIA GPUs; empty on such a device."""
        if self.device.startswith("cuda"):
            return []
        return [f"needs an NVIDIA GPU, and this runs on {self.device}"]


def describe(q: Tensor, k: Tensor, options: Options, training: bool = True) -> AttentionRequest:
    """The request for q (B, H, S_q, D) and k (B, H_kv, S_k, D)."""
    return AttentionRequest(
        device=str(q.device),
        dtype=str(q.dtype).removeprefix("torch."),
        head_dim=q.shape[3],
        query_heads=q.shape[1],
        key_heads=k.shape[1],
        window=options.window,
        packed=options.document_ids is not None,
        dropout=options.dropout,
        softcap=options.softcap is not None,
        training=training,
        query_length=q.shape[2],
        key_length=k.shape[2],
    )
