"""FlashAttention-4 from the flash-attn-4 package, which compiles its kernels at run time: no wheel has to match torch.

In version 4.0.0b36, the window is (left, right), so W becomes (W - 1, 0), and None is no limit. Both functions return
(output, log-sum-exp). The document offsets do not directly follow the tensors, so all arguments are passed by name. The
forward pass requires compute capability 8.0, the backward pass 9.0. The package is imported as `flash_attn.cute`, whether
flash-attn is installed or not.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType
from typing import Any

from torch import Tensor

from trainer.attention.backend import Backend
from trainer.attention.flash_attn_2 import lacking_gpu, lacking_options
from trainer.attention.packing import run_packed
from trainer.attention.request import AttentionRequest, Options

# The limit on every GPU that the package supports; on some it is higher.
MAX_HEAD_DIM = 128
MIN_COMPUTE_CAPABILITY = (9, 0)
OPTIONS = {"softmax_scale", "causal", "window_size", "softcap"}


def reasons_against(request: AttentionRequest) -> list[str]:
    """Return the limits of the kernels that the request exceeds."""
    reasons = request.not_on_gpu
    if request.dtype not in ("float16", "bfloat16"):
        reasons.append(f"computes in float16 and bfloat16, not in {request.dtype}")
    if request.head_dim > MAX_HEAD_DIM or request.head_dim % 8:
        reasons.append(
            f"supports head dimensions up to {MAX_HEAD_DIM} that are multiples of 8, not {request.head_dim}"
        )
    if request.dropout:
        reasons.append("does not support dropout")
    return reasons


def reasons_here() -> list[str]:
    """The first reason why it cannot run on this machine."""
    try:
        importlib.metadata.version("flash-attn-4")
    except importlib.metadata.PackageNotFoundError:
        return ["flash-attn-4 package not installed"]
    lacking = lacking_gpu(MIN_COMPUTE_CAPABILITY) or lacking_options(_package(), OPTIONS)
    return [lacking] if lacking else []


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by flash-attn-4; see `Backend.run`."""
    settings: dict[str, Any] = {
        "softmax_scale": options.scale,
        "causal": True,
        "softcap": options.softcap or 0.0,
        "window_size": (None, None) if options.window is None else (options.window - 1, 0),
    }
    if options.document_ids is None:
        output: Tensor
        output, _ = _package().flash_attn_func(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **settings
        )
        return output.transpose(1, 2)

    def call(q: Tensor, k: Tensor, v: Tensor, *limits: Any) -> Tensor:
        names = ("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k")
        limited = dict(zip(names, limits, strict=True))
        output: Tensor
        output, _ = _package().flash_attn_varlen_func(q, k, v, **limited, **settings)
        return output

    return run_packed(call, q, k, v, options.document_ids)


def _package() -> ModuleType:
    return importlib.import_module("flash_attn.cute")


FLASH_ATTN_4 = Backend(
    name="flash_attn_4",
    label=lambda request: "FlashAttention-4 (compiled at run time)",
    distribution="flash-attn-4",
    max_head_dim=MAX_HEAD_DIM,
    reasons_here=reasons_here,
    reasons_against=reasons_against,
    run=run,
)
