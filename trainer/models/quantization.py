"""Frozen weights in 4 or 8 bits, by bitsandbytes: NF4 with double quantization (Dettmers et al. 2023, arXiv:2305.14314), or
LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339).

The output layer and the embeddings keep 16 or 32 bits. An adapter is trained beside the quantized weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from doctor.extras import how_to_add
from trainer.errors import UserError
from trainer.models import hub

BLOCK, OUTER_BLOCK = 64, 256  # weights with one scale, and scales with one scale
# The largest error of a weight, as a fraction of the largest weight that has the same scale: half the widest gap between two
# values of NF4 (-1 and -0.6962) and half a step of an 8-bit integer, with room for the rounding of scales and 16-bit products.
LARGEST_ERROR = {4: 0.152 + 0.05, 8: 0.5 / 127 + 0.01}
# Raised by bitsandbytes when it does not support a device
UNSUPPORTED = (RuntimeError, AttributeError, AssertionError, NameError, NotImplementedError, OSError)


def settings(bits: int, dtype: torch.dtype) -> Any:
    """What transformers needs to quantize weights while it loads them.

    Args:
        dtype: of the computation.
    """
    config: Any = BitsAndBytesConfig
    if bits == 8:
        return config(load_in_8bit=True)
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def prove(bits: int, device: torch.device, dtype: torch.dtype) -> None:
    """Prove that bitsandbytes computes a quantized layer on this device: its weights, its product and its gradient.

    Raises:
        UserError: bitsandbytes is missing, does not support the device, or computes something else.
    """
    key = f"model.load_in_{bits}bit"
    hub.silence_libraries()
    try:
        import bitsandbytes
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"{key} needs bitsandbytes, which cannot be imported ({str(error).splitlines()[0]}). Train with LoRA alone "
            f"(--use-peft), or install it:\n  {how_to_add('bitsandbytes')}"
        ) from error
    weight = torch.randn(96, 128, generator=torch.Generator().manual_seed(0))
    try:
        wrong = _error(bitsandbytes, bits, weight, device, dtype)
    except UNSUPPORTED as problem:
        lines = str(problem).strip().splitlines() or [type(problem).__name__]
        raise UserError(
            f"{key}: bitsandbytes {version('bitsandbytes')} does not work on {device}: {lines[0]}. Run `aios doctor` to find "
            "the cause, or train with LoRA alone (--use-peft)."
        ) from problem
    if not wrong <= LARGEST_ERROR[bits]:  # not a number is wrong, too
        raise UserError(
            f"{key}: bitsandbytes {version('bitsandbytes')} computes wrong results on {device}: the error is {wrong:.2g} of the "
            f"largest weight, and may be {LARGEST_ERROR[bits]:.2g}. Run `aios doctor` to find the cause, or train with LoRA "
            "alone (--use-peft)."
        )


def _error(bitsandbytes: Any, bits: int, weight: Tensor, device: torch.device, dtype: torch.dtype) -> float:
    """The largest error of weights that a layer's product and its gradient show, as a fraction of a block's largest weight."""
    rows, columns = weight.shape
    if bits == 4:
        layer = bitsandbytes.nn.Linear4bit(columns, rows, False, dtype, quant_type="nf4")
        values = weight.to(dtype)
        layer.weight = bitsandbytes.nn.Params4bit(values, False, quant_type="nf4", module=layer)
        largest = weight.view(-1, BLOCK).abs().amax(1, keepdim=True).expand(-1, BLOCK).reshape(rows, columns)
    else:
        layer = bitsandbytes.nn.Linear8bitLt(columns, rows, False, has_fp16_weights=False)
        layer.weight = bitsandbytes.nn.Int8Params(weight.to(torch.float16), requires_grad=False)
        largest = weight.abs().amax(1, keepdim=True)
    layer = layer.to(device)
    keep_layout(layer)
    product = layer(torch.eye(columns, dtype=dtype, device=device)).t()
    inputs = torch.zeros(rows, columns, dtype=dtype, device=device, requires_grad=True)
    layer(inputs).backward(torch.eye(rows, dtype=dtype, device=device))
    assert inputs.grad is not None
    found = torch.stack([product.detach(), inputs.grad]).float().cpu()
    return float(((found - weight) / largest).abs().amax())


def keep_layout(network: nn.Module) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for inference on a CPU with AVX-512.

    It does so in evaluation mode, and never undoes it: later steps of training would get no gradient through the layer.
    """
    modules: Iterator[Any] = network.modules()
    for module in modules:
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def stand_in(network: Any, bits: int) -> None:
    """Replace the layers that would be quantized by some of the same size without values, for a memory estimate."""
    kept = HfQuantizer.get_modules_to_not_convert(network, None, network._keep_in_fp32_modules)
    for name, module in [*network.named_modules()]:
        if (type(module) is nn.Linear or isinstance(module, Conv1D)) and should_convert_module(name, kept):
            network.set_submodule(name, _StandIn(module, bits))


class _StandIn(nn.Linear):
    """A linear layer that needs the memory of a quantized one. Its weight has the shape, and the storage, of that one's."""

    def __init__(self, source: Any, bits: int) -> None:
        weight = source.weight.t() if isinstance(source, Conv1D) else source.weight
        rows, columns = weight.shape
        super().__init__(columns, rows, source.bias is not None, dtype=weight.dtype)
        self.bits, self.compute_dtype = bits, weight.dtype
        count = weight.numel()
        if bits == 4:
            scales = torch.empty(
                -(-count // BLOCK) + 4 * -(-count // (BLOCK * OUTER_BLOCK)), dtype=torch.uint8
            )
            # Overlapping rows: as many bytes as two weights per byte need
            storage = torch.empty(columns + (rows - 1) * (columns // 2), dtype=torch.uint8)
            values = storage.as_strided((rows, columns), (columns // 2, 1))
        else:
            scales = torch.empty(4 * rows, dtype=torch.uint8)
            values = torch.empty(rows, columns, dtype=torch.int8)
        self.weight = nn.Parameter(values, requires_grad=False)
        self.register_buffer("scales", scales)
        if self.bias is not None:
            self.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _Dequantized.apply(  # type: ignore[no-untyped-call]
            x.to(self.compute_dtype), self.weight.shape, self.bias, self.bits == 8
        )
        return result.to(x.dtype)


class _Dequantized(torch.autograd.Function):
    """The product with a weight that is dequantized for it, and again for the gradient, as bitsandbytes does it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: torch.Size, bias: Tensor | None, keep: bool) -> Tensor:
        ctx.shape = shape
        ctx.kept = x if keep else None
        return F.linear(x, x.new_empty(shape), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient @ gradient.new_empty(ctx.shape), None, None, None
