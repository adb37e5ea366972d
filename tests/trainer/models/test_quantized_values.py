"""A QLoRA run is exported as the function that was trained: with the values that the quantized weights have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests.trainer.gguf_file import models
from trainer.models import quantization
from trainer.models.quantized_values import round_weights

TOKENS = [*range(3, 43)]


@pytest.mark.parametrize("bits", [4, 8])
def test_rounded_weights_compute_what_quantized_weights_compute(bits: int, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    network = models.save("llama", tmp_path)
    make: Any = BitsAndBytesConfig
    settings = (
        make(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        if bits == 4
        else make(load_in_8bit=True)
    )
    quantized: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=settings, dtype=torch.float32, device_map={"": "cpu"}
    ).eval()
    quantization.keep_layout(quantized)
    expected, before = models.logits(quantized, TOKENS), models.logits(network, TOKENS)
    round_weights(network, bits)
    found = models.logits(network, TOKENS)
    error, change = (found - expected).abs().max(), (before - expected).abs().max()
    if bits == 4:
        assert error < 1e-4 * change
    else:  # bitsandbytes also rounds the activations
        stored = quantized.model.layers[0].mlp.up_proj.state
        values = stored.CB.float() * stored.SCB[:, None] / 127
        assert torch.allclose(network.model.layers[0].mlp.up_proj.weight, values, atol=1e-7)
    assert torch.equal(network.lm_head.weight, AutoModelForCausalLM.from_pretrained(tmp_path).lm_head.weight)
