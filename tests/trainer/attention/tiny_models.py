"""Tiny models of transformers, with the peculiarities of their architectures, and helpers for them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from trainer.attention.huggingface import attach

SMALL: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
WINDOW = 11


def gpt2(**changes):
    return GPT2Config(
        vocab_size=61,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        bos_token_id=0,
        eos_token_id=0,
        **changes,
    )


CONFIGS = {
    "gpt2": gpt2,
    "gpt2, scaled by layer": lambda: gpt2(scale_attn_by_inverse_layer_idx=True),
    "llama": lambda: LlamaConfig(**SMALL),
    "mistral": lambda: MistralConfig(**SMALL, sliding_window=WINDOW),
    "qwen2": lambda: Qwen2Config(
        **SMALL, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": lambda: Qwen3Config(**SMALL, head_dim=8),
    "qwen3, sliding": lambda: Qwen3Config(
        **SMALL, head_dim=8, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=0
    ),
    "gemma2": lambda: Gemma2Config(
        **SMALL,
        head_dim=8,
        query_pre_attn_scalar=17,
        sliding_window=WINDOW,
        attn_logit_softcapping=0.02,  # published: 50, which the scores of a tiny model never reach
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **SMALL,
        head_dim=8,
        query_pre_attn_scalar=17,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
    ),
}


def build(config, **attached):
    """A model whose weights depend only on the config; on our attention if arguments of `attach` are given."""
    if attached:
        attach(config, **attached)
    else:
        config._attn_implementation = "eager"
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).double().eval()


def tokens(batch=2, length=150):
    return torch.randint(1, 61, (batch, length), generator=torch.Generator().manual_seed(1))


def cache_bytes(cache):
    """Memory of a cache's keys and values."""
    tensors = [
        tensor for layer in cache.layers for tensor in (layer.keys, layer.values) if tensor is not None
    ]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)
