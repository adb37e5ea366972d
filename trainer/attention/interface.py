"""`attention`: checks its arguments and calls one backend."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.backend import Run
from trainer.attention.choice import backend_named
from trainer.attention.definition import check_document_ids, effective_window
from trainer.attention.request import Options, describe
from trainer.attention.sdpa import SDPA


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    backend: str = "auto",
    window: int | None = None,
    document_ids: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention. Backends differ only in speed.

    Args:
        q: (B, H, S_q, D). The queries are the last S_q of the S_k positions.
        k: (B, H_kv, S_k, D); H is a multiple of H_kv (grouped heads share keys and values).
        v: (B, H_kv, S_k, D_v). If D_v is not D, as in multi-head latent attention (DeepSeek), zeros are appended to the
            narrower ones, so every backend serves both and its limits apply to the wider.
        backend: a name in `choice.BACKENDS`, or "auto" for sdpa, which serves every call. Third-party kernels run only
            by name, after `choice.decide` has found that they were proven on this machine.
        window: keys that a query sees, including its own; None or 0 for all.
        document_ids: (B, S_k) integers, one for each key; a query sees keys of its own document only.
        scale: factor of the scores; None for 1 / sqrt(D).
        dropout: probability that a weight is dropped.
        softcap: scores become softcap * tanh(score / softcap); None or 0 leaves them as they are.

    Returns:
        (B, H, S_q, D_v), in the dtype of q. Under autocast all inputs are cast first, as in torch's own attention.

    Raises:
        ValueError: shapes, dtypes or options that are invalid, or that the named backend does not support.
    """
    if torch.is_autocast_enabled(q.device.type) and q.dtype != torch.float64:
        q, k, v = (x.to(torch.get_autocast_dtype(q.device.type)) for x in (q, k, v))
    _check(q, k, v, document_ids, dropout, softcap)
    # Fused kernels need contiguous heads; without, torch falls back to an S x S table.
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    query_length, key_length = q.shape[2], k.shape[2]
    window = effective_window(window, key_length)
    if window is not None and key_length > query_length + window - 1:  # no query sees the first keys
        key_length = query_length + window - 1
        k, v = k[:, :, -key_length:], v[:, :, -key_length:]
        document_ids = None if document_ids is None else document_ids[:, -key_length:]
        window = effective_window(window, key_length)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    value_width = v.shape[3]
    width = max(q.shape[3], value_width)
    q, k, v = (x if x.shape[3] == width else F.pad(x, (0, width - x.shape[3])) for x in (q, k, v))
    options = Options(window, document_ids, scale, dropout, softcap or None)
    run = _run_of(backend, q, k, options)
    # Backends choose the precision of each step themselves.
    with torch.autocast(q.device.type, enabled=False):
        output = run(q, k, v, options)
    return output if width == value_width else output[..., :value_width]


def _run_of(name: str, q: Tensor, k: Tensor, options: Options) -> Run:
    """The function that runs this call. Raises ValueError if the named backend does not support it."""
    if name == "auto":
        return SDPA.run
    backend = backend_named(name)
    reasons = backend.reasons_against(describe(q, k, options, training=torch.is_grad_enabled()))
    if reasons:
        raise ValueError(f"{name} cannot serve this call: {'; '.join(reasons)}")
    return backend.run


def _check(
    q: Tensor, k: Tensor, v: Tensor, document_ids: Tensor | None, dropout: float, softcap: float | None
) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if q.ndim != 4 or k.ndim != 4 or v.ndim != 4 or k.shape[:3] != v.shape[:3]:
        raise ValueError(
            f"need q (B, H, S_q, D), k (B, H_kv, S_k, D) and v (B, H_kv, S_k, D_v), got {shapes}"
        )
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise ValueError(f"q and k must agree in batch size and head dimension, got {shapes}")
    if 0 in q.shape or 0 in k.shape or 0 in v.shape:
        raise ValueError(f"q, k and v must not be empty, got {shapes}")
    if q.shape[1] % k.shape[1] != 0:
        raise ValueError(f"query heads must be a multiple of key heads, got {q.shape[1]} and {k.shape[1]}")
    if q.shape[2] > k.shape[2]:
        raise ValueError(f"there must not be more queries than keys, got {q.shape[2]} and {k.shape[2]}")
    if not q.is_floating_point() or not q.dtype == k.dtype == v.dtype:
        raise ValueError(
            f"q, k and v must have one floating-point dtype, got {q.dtype}, {k.dtype} and {v.dtype}"
        )
    devices = {tensor.device for tensor in (q, k, v, document_ids) if tensor is not None}
    if len(devices) > 1:
        raise ValueError(f"all tensors must be on one device, got {', '.join(sorted(map(str, devices)))}")
    if document_ids is not None:
        check_document_ids(document_ids, (k.shape[0], k.shape[2]))
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    if softcap is not None and not 0.0 <= softcap < math.inf:
        raise ValueError(f"softcap must not be negative, got {softcap}; use None or 0 for none")
