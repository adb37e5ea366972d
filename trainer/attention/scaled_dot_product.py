"""torch's `scaled_dot_product_attention`, only where it runs a kernel that stores no S x S table of weights.

torch silently falls back to plain matrix products with such a table: with dropout on a CPU, and for grouped heads where
neither FlashAttention nor cuDNN is available, as on Windows up to torch 2.14 (pytorch/pytorch#186343; 15.48 GiB instead of
0.05 with 8000 tokens in Comfy-Org/ComfyUI#15135). So each call is checked first: which kernel would torch run?
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import _disable_current_modes

from trainer.attention.backend import Implementation
from trainer.attention.definition import mask
from trainer.attention.request import AttentionRequest, Options

# The largest number of keys at which one masked call is as fast as blocks. Forward and backward, dense / blocks on one thread
# (AMD EPYC, torch 2.13, B=1 H=8 and B=4 H=6, D=64, medians of 51 rounds): float32 0.6 to 1.0 at 128 keys, 0.9 to 1.2 at 192,
# 1.0 to 1.6 at 256, 1.2 to 2.3 at 384; bfloat16 0.9 to 1.4 at 192, 1.2 to 1.7 at 256.
SHORT = 192
# The limits of cuDNN's kernels. The backward pass supports larger heads on some GPUs.
CUDNN_MAX_HEAD_DIM = 128
CUDNN_MIN_COMPUTE_CAPABILITY = (8, 0)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def chosen_kernel(
    device: str, dtype: str, head_dim: int, grouped: bool, dropout: bool, training: bool
) -> str:
    """The kernel that torch would choose for a causal call: "FLASH_ATTENTION", "MATH" and so on.

    Asks the private function by which torch chooses in a call. If torch has no such function, the answer is "MATH".
    """
    return _chosen_kernel(device, dtype, head_dim, grouped, dropout, training)


@cache  # inside: torch.compile would look into a cached function
def _chosen_kernel(
    device: str, dtype: str, head_dim: int, grouped: bool, dropout: bool, training: bool
) -> str:
    choose = getattr(torch, "_fused_sdp_choice", None)
    if choose is None:
        return "MATH"
    with _disable_current_modes(), torch.enable_grad():
        row = torch.empty(1, 1, 1, head_dim, dtype=getattr(torch, dtype), device=device)
        q = row.expand(1, 2, 64, head_dim).requires_grad_(training)
        k = row.expand(1, 1 if grouped else 2, 64, head_dim).requires_grad_(training)
        chosen = choose(q, k, k, None, 0.1 if dropout else 0.0, True, enable_gqa=grouped)
    return str(SDPBackend(chosen).name)


def causal(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """torch's own choice of a kernel, without a window."""
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        dropout_p=options.dropout,
        is_causal=q.shape[2] > 1,
        scale=options.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _kernel_for(request: AttentionRequest) -> str:
    grouped = request.query_heads != request.key_heads
    dropout = bool(request.dropout)
    kernel: str = chosen_kernel(
        request.device, request.dtype, request.head_dim, grouped, dropout, request.training
    )
    return kernel


def _reasons_against_plain(request: AttentionRequest) -> list[str]:
    reasons = []
    if request.window is not None or request.packed:
        reasons.append("supports neither a window nor documents")
    if request.softcap:
        reasons.append("does not cap scores")
    if request.query_length not in (1, request.key_length):
        reasons.append("aligns the first query with the first key")
    return reasons


def _reasons_against_causal(request: AttentionRequest) -> list[str]:
    reasons = _reasons_against_plain(request)
    if not reasons and request.query_length != 1 and _kernel_for(request) == SDPBackend.MATH.name:
        reasons.append("stores S x S weights: torch has no other kernel for this call here")
    return reasons


def cudnn(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """cuDNN's kernels, without a window."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return causal(q, k, v, options)


def _reasons_against_cudnn(request: AttentionRequest) -> list[str]:
    """Return the limits of cuDNN's kernels that the request exceeds.

    torch's FlashAttention is preferred, because it needs no new plan for each length.
    """
    if reason := request.not_on_gpu:
        return reason
    reasons = _reasons_against_plain(request)
    if not torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]
        reasons.append("this torch has no cuDNN")
    if torch.cuda.get_device_capability(request.device) < CUDNN_MIN_COMPUTE_CAPABILITY:
        reasons.append("needs compute capability 8.0 or newer")
    if request.dtype not in ("float16", "bfloat16"):
        reasons.append(f"computes in float16 and bfloat16, not in {request.dtype}")
    if request.head_dim > CUDNN_MAX_HEAD_DIM or request.head_dim % 8:
        reasons.append(
            f"supports head dimensions up to {CUDNN_MAX_HEAD_DIM} that are multiples of 8, not {request.head_dim}"
        )
    if request.dropout:  # wrong in cuDNN 9.11 to 9.13
        reasons.append("is not used with dropout")
    if request.query_length == 1:
        reasons.append("is not used for a single query")
    if not reasons and _kernel_for(request) == SDPBackend.FLASH_ATTENTION.name:
        reasons.append("torch has FlashAttention here")
    return reasons


def dense(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """One call with the whole mask: O(S * S) memory."""
    sees = mask(q.shape[2], k.shape[2], options.window, options.document_ids).to(q.device)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=sees if options.document_ids is None else sees[:, None],
        dropout_p=options.dropout,
        scale=options.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _reasons_against_dense(request: AttentionRequest) -> list[str]:
    reasons = []
    if request.softcap:
        reasons.append("does not cap scores")
    if request.key_length is not None and request.key_length > SHORT:
        reasons.append(f"is slower than blocks for more than {SHORT} keys")
    return reasons


CAUSAL = Implementation("causal", causal, _reasons_against_causal)
CUDNN = Implementation("cudnn", cudnn, _reasons_against_cudnn, needs_proof=True)
DENSE = Implementation("dense", dense, _reasons_against_dense)
