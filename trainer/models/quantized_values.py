"""The weights of a model as bitsandbytes stores them: rounded to 4 or 8 bits, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module


@torch.no_grad()
def round_weights(network: Any, bits: int) -> None:
    """Round the weights that would be quantized to the values that they would have, in place.

    An adapter that was trained beside quantized weights has learned to work with these values.
    """
    kept = HfQuantizer.get_modules_to_not_convert(network, None, network._keep_in_fp32_modules)
    for name, module in network.named_modules():
        if type(module) is nn.Linear and should_convert_module(name, kept):
            module.weight.data = rounded(module.weight.data, bits)
        elif isinstance(module, Conv1D) and should_convert_module(name, kept):
            module.weight.data = rounded(module.weight.data.t(), bits).t()


def rounded(weight: Tensor, bits: int) -> Tensor:
    """The values of a weight after quantization to NF4 with double quantization, or to LLM.int8()."""
    from bitsandbytes import functional

    if bits == 8:
        largest = weight.float().abs().amax(1, keepdim=True).clamp(min=1e-12)
        return (torch.round(weight.float() / largest * 127) * largest / 127).to(weight.dtype)
    values, state = functional.quantize_4bit(
        weight.contiguous(), compress_statistics=True, quant_type="nf4", blocksize=64
    )
    result: Tensor = functional.dequantize_4bit(values, state)
    return result.to(weight.dtype)
