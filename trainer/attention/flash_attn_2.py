"""FlashAttention-2 from the flash-attn package (Dao 2023, arXiv:2307.08691). Only this file imports that package.

Its window is (left, right): the number of keys before and after the query's own, so W becomes (W - 1, 0). Since version
2.1, fewer queries than keys are aligned at the last key; the parameters `window_size` and `softcap` came later.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from trainer.attention.backend import Backend
from trainer.attention.packing import run_packed
from trainer.attention.request import AttentionRequest, Options

MAX_HEAD_DIM = 256
# GPUs with less shared memory (8.6, 8.9) compute no gradient above this, and raise no error.
MAX_HEAD_DIM_DROPOUT = 192
MIN_COMPUTE_CAPABILITY = (8, 0)
OPTIONS = {"dropout_p", "softmax_scale", "causal", "window_size", "softcap"}


def reasons_against(request: AttentionRequest) -> list[str]:
    """Return the limits of the kernels that the request exceeds."""
    reasons = request.not_on_gpu
    if request.dtype not in ("float16", "bfloat16"):
        reasons.append(f"computes in float16 and bfloat16, not in {request.dtype}")
    if request.head_dim > MAX_HEAD_DIM:
        reasons.append(f"supports head dimensions up to {MAX_HEAD_DIM}, not {request.head_dim}")
    elif request.dropout and request.head_dim > MAX_HEAD_DIM_DROPOUT:
        reasons.append(
            f"supports head dimensions up to {MAX_HEAD_DIM_DROPOUT} with dropout, not {request.head_dim}"
        )
    if request.softcap and request.dropout:
        reasons.append("does not cap scores with dropout")
    return reasons


def reasons_here() -> list[str]:
    """The first reason why it cannot run on this machine."""
    found = importlib.util.find_spec("flash_attn")
    if found is None or found.origin is None:  # flash-attn-4 alone has no flash_attn/__init__.py
        return ["flash-attn package not installed"]
    lacking = lacking_gpu(MIN_COMPUTE_CAPABILITY) or lacking_options(_package(), OPTIONS)
    return [lacking] if lacking else []


def lacking_gpu(needed: tuple[int, int]) -> str | None:
    """A reason if no GPU has at least this compute capability, else None."""
    if not torch.cuda.is_available():
        return "needs an NVIDIA GPU that torch can use"
    newest = max(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
    if newest >= needed:
        return None
    return "needs compute capability {}.{} or newer, and the GPU has {}.{}".format(*needed, *newest)


def lacking_options(package: ModuleType, needed: set[str]) -> str | None:
    """A reason if the functions of a package with the interface of flash-attn lack a parameter, else None."""
    for name in ("flash_attn_func", "flash_attn_varlen_func"):
        missing = needed - set(inspect.signature(getattr(package, name)).parameters)
        if missing:
            return f"{name} of this version has no {', '.join(sorted(missing))}; a newer version is needed"
    return None


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by flash-attn; see `Backend.run`."""
    return attend(_package(), q, k, v, options)


def attend(package: ModuleType, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by a package with the interface of flash-attn 2."""
    settings = {
        "dropout_p": options.dropout,
        "softmax_scale": options.scale,
        "causal": True,
        "softcap": options.softcap or 0.0,
        "window_size": (-1, -1) if options.window is None else (options.window - 1, 0),
    }
    if options.document_ids is not None:
        call = partial(package.flash_attn_varlen_func, **settings)
        return run_packed(call, q, k, v, options.document_ids)
    output: Tensor = package.flash_attn_func(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **settings
    )
    return output.transpose(1, 2)


def _package() -> ModuleType:
    return importlib.import_module("flash_attn")


FLASH_ATTN_2 = Backend(
    name="flash_attn_2",
    label=lambda request: "FlashAttention-2 (explicit, fastest)",
    distribution="flash-attn",
    max_head_dim=MAX_HEAD_DIM,
    reasons_here=reasons_here,
    reasons_against=reasons_against,
    run=run,
)
