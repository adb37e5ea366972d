"""FlashAttention-2 from the flash-attn package (Dao 2023, arXiv:2307.08691). All use of that package is in this file.

Its window is (left, right): how many keys before and after the query's own, so W becomes (W - 1, 0). Fewer queries
than keys are the last ones since its version 2.1; its parameter `window_size` is younger than that.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from trainer.attention.packing import lay_out, offsets, pack
from trainer.attention.request import AttentionRequest

DISTRIBUTION = "flash-attn"
MAX_HEAD_DIM = 256
MAX_HEAD_DIM_DROPOUT = (
    192  # on GPUs with less shared memory (8.6, 8.9) wider ones get no gradient, nor an error
)
MIN_COMPUTE_CAPABILITY = (8, 0)
OPTIONS = {"dropout_p", "softmax_scale", "causal", "window_size"}


def reasons_against(request: AttentionRequest) -> list[str]:
    """What its kernels are not made for."""
    reasons = []
    if not request.device.startswith("cuda"):
        reasons.append(f"needs an NVIDIA GPU, and this runs on {request.device}")
    if request.dtype not in ("float16", "bfloat16"):
        reasons.append(f"computes in float16 and bfloat16, not in {request.dtype}")
    if request.head_dim > MAX_HEAD_DIM:
        reasons.append(f"serves heads up to {MAX_HEAD_DIM} wide, not {request.head_dim}")
    elif request.dropout and request.head_dim > MAX_HEAD_DIM_DROPOUT:
        reasons.append(f"serves heads up to {MAX_HEAD_DIM_DROPOUT} wide with dropout, not {request.head_dim}")
    return reasons


def reasons_here() -> list[str]:
    """Why it cannot run on this machine at all, the first reason met."""
    if importlib.util.find_spec("flash_attn") is None:
        return ["flash-attn package not installed"]
    if not torch.cuda.is_available():
        return ["needs an NVIDIA GPU that torch can use"]
    newest = max(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
    if newest < MIN_COMPUTE_CAPABILITY:
        return ["needs compute capability 8.0 or newer, and the GPU has {}.{}".format(*newest)]
    package = _package()
    for name in ("flash_attn_func", "flash_attn_varlen_func"):
        missing = OPTIONS - set(inspect.signature(getattr(package, name)).parameters)
        if missing:
            return [f"{name} of this flash-attn has no {', '.join(sorted(missing))}; 2.3 and later have"]
    return []


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int | None,
    document_ids: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`."""
    options = {
        "dropout_p": dropout,
        "softmax_scale": scale,
        "causal": True,
        "window_size": (-1, -1) if window is None else (window - 1, 0),
    }
    if document_ids is not None:
        return _run_packed(q, k, v, document_ids, options)
    output: Tensor = _package().flash_attn_func(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **options
    )
    return output.transpose(1, 2)


def _package() -> ModuleType:
    return importlib.import_module("flash_attn")


def _run_packed(q: Tensor, k: Tensor, v: Tensor, document_ids: Tensor, options: dict[str, Any]) -> Tensor:
    packing = pack(document_ids, q.shape[2])
    call: Callable[..., Tensor] = _package().flash_attn_varlen_func
    q_thd, k_thd, v_thd = lay_out(q), lay_out(k)[packing.keys], lay_out(v)[packing.keys]
    outputs, query, key = [], 0, 0
    for part in _parts(packing.query_lengths, q.shape[1], q.shape[3]):
        query_lengths, key_lengths = packing.query_lengths[part], packing.key_lengths[part]
        query_end, key_end = query + sum(query_lengths), key + sum(key_lengths)
        outputs.append(
            call(
                q_thd[query:query_end],
                k_thd[key:key_end],
                v_thd[key:key_end],
                cu_seqlens_q=offsets(query_lengths, q.device),
                cu_seqlens_k=offsets(key_lengths, q.device),
                max_seqlen_q=max(query_lengths),
                max_seqlen_k=max(key_lengths),
                **options,
            )
        )
        query, key = query_end, key_end
    output = torch.cat(outputs)
    return output.reshape(q.shape[0], q.shape[2], *output.shape[1:]).transpose(1, 2)


def _parts(lengths: tuple[int, ...], heads: int, head_dim: int) -> Iterator[slice]:
    """Documents that may share a call: its backward counts with int32, and pads every document by up to 128 rows."""
    step = 32 if head_dim <= 128 else 64
    row = heads * (-(-head_dim // step) * step)
    first, rows = 0, 0
    for index, length in enumerate(lengths):
        if (length + 128) * row >= 2**31:
            raise ValueError(
                f"flash_attn_2: a document of {length} tokens with {heads} heads of {head_dim} overflows its 32-bit "
                "indices; use shorter documents or the backend sdpa"
            )
        if (rows + length + 128) * row >= 2**31:
            yield slice(first, index)
            first, rows = index, 0
        rows += length + 128
    yield slice(first, len(lengths))
