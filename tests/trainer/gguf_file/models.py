"""A small model of each type that llama.cpp runs, with weights large enough for every layer to affect the output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from tests.trainer import small_tokenizers

COMMON = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
SPREAD = 6.0  # standard deviation of the logits
WIDE = {"head_dim": 32}  # not hidden size / heads
GEMMA = {**WIDE, "query_pre_attn_scalar": 32, "sliding_window": 11, "tie_word_embeddings": True}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + i / 20 for i in range(8)],
    "long_factor": [1.0 + i for i in range(8)],
    "original_max_position_embeddings": 32,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", WIDE),
    "llama, tied, llama3": ("llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "llama, biases, linear": (
        "llama",
        {"attention_bias": True, "mlp_bias": True, "rope_parameters": LINEAR},
    ),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2, yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen3": ("qwen3", WIDE),
    "gemma2": ("gemma2", GEMMA),
    "gemma2, no softcap": (
        "gemma2",
        {**GEMMA, "attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "gemma2, windows": (
        "gemma2",
        {**GEMMA, "layer_types": ["full_attention", "sliding_attention"]},
    ),
    "gemma3": (
        "gemma3_text",
        {
            **GEMMA,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": {**LINEAR, "rope_theta": 1e6},
            },
        },
    ),
    "phi3": ("phi3", {"sliding_window": None}),
    "phi3, longrope": (
        "phi3",
        {"sliding_window": None, "original_max_position_embeddings": 32, "rope_parameters": LONGROPE},
    ),
}


def save(name: str, folder: Path, tokenizer: Any = None, **changes: Any) -> Any:
    """Write the model, whose weights float16 can store, and a tokenizer to a folder; returns the model."""
    kind, settings = KINDS[name]
    tokenizer = tokenizer or small_tokenizers.sentencepiece()
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer) + 3, **{**COMMON, **special, **settings, **changes}
    )
    torch.manual_seed(0)
    network: Any = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for parameter in network.parameters():
        parameter.data.normal_(std=0.07)
    for layer, weight in network.named_parameters():
        if layer.endswith("norm.weight") and not kind.startswith("gemma"):
            weight.data += 1
    for _ in range(2):
        spread = float(logits(network, [*range(3, 35)]).std())
        network.get_output_embeddings().weight.data.mul_(SPREAD / spread)
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return network


def logits(network: Any, tokens: list[int]) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return found


def greedy(network: Any, tokens: list[int], count: int) -> list[int]:
    """The most likely tokens after these."""
    text = list(tokens)
    for _ in range(count):
        text.append(int(logits(network, text)[-1].argmax()))
    return text[len(tokens) :]
