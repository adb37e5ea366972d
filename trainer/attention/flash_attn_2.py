"""FlashAttention-2 from the flash-attn package (Dao 2023, arXiv:2307.08691). All use of that package is in this file.

Its window is (left, right): how many keys before and after the query's own, so W becomes (W - 1, 0). Fewer queries
than keys are the last ones since its version 2.1; its parameters `window_size` and `softcap` are younger than that.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from trainer.attention.packing import run_packed
from trainer.attention.request import AttentionRequest, Options

DISTRIBUTION = "flash-attn"
MAX_HEAD_DIM = 256
MAX_HEAD_DIM_DROPOUT = (
    192  # on GPUs with less shared memory (8.6, 8.9) wider ones get no gradient, nor an error
)
MIN_COMPUTE_CAPABILITY = (8, 0)
OPTIONS = {"dropout_p", "softmax_scale", "causal", "window_size", "softcap"}


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
    if request.softcap and request.dropout:
        reasons.append("caps no scores where weights are dropped")
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
            return [f"{name} of this flash-attn has no {', '.join(sorted(missing))}; 2.6 and later have"]
    return []


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Options,
) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`."""
    settings = {
        "dropout_p": options.dropout,
        "softmax_scale": options.scale,
        "causal": True,
        "softcap": options.softcap or 0.0,
        "window_size": (-1, -1) if options.window is None else (options.window - 1, 0),
    }
    if options.document_ids is not None:
        call = partial(_package().flash_attn_varlen_func, **settings)
        return run_packed(call, q, k, v, options.document_ids)
    output: Tensor = _package().flash_attn_func(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **settings
    )
    return output.transpose(1, 2)


def _package() -> ModuleType:
    return importlib.import_module("flash_attn")
