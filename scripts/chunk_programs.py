"""Training steps on long sequences that `bench_chunks.py` compares: ours, SeCO's algorithm and StreamBP.

SeCO's own code (arXiv:2505.16710) needs flash-attn, so its algorithm is written here: full attention, the keys, values and
their gradients of all tokens. StreamBP (arXiv:2506.03077) is its package.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LAYERS, WIDTH, HEADS, VOCABULARY = 4, 128, 4, 256
# Programs in chunks; those that attend to all tokens, which are measured up to this many tokens.
CHUNKS = ("truncated", "exact", "exact, recomputed carries")
FULL = ("exact, no window", "checkpointed, no window", "HF checkpointed", "SeCO")
THEIRS_UP_TO = 16384


@dataclass(frozen=True)
class Work:
    """One measurement: S tokens, in chunks of C, with a window W."""

    program: str
    length: int
    chunk: int
    window: int


def settings(length: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 344,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": max(length, 4096),
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


def tokens(length: int) -> Tensor:
    return torch.randint(0, VOCABULARY, (1, length + 1), generator=torch.Generator().manual_seed(1))


def llama(work: Work, attention: str = "sdpa") -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**settings(work.length))
    config._attn_implementation = attention
    return LlamaForCausalLM(config).train()


def step_of(work: Work) -> Callable[[], int]:
    """Build the model; returns a function that takes a step, and returns the bytes that the carry stores."""
    if work.program == "SeCO":
        return partial(seco, llama(work), work)
    if work.program == "StreamBP":
        return streambp(work)
    if work.program == "HF checkpointed":
        model = llama(work)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        return partial(plain, model, work)
    return ours(work)


def ours(work: Work) -> Callable[[], int]:
    from trainer.attention import carry, huggingface
    from trainer.data import Batch
    from trainer.device import Precision, return_freed_memory
    from trainer.learning.chunks import Chunked, ChunkSettings
    from trainer.learning.objective import NextToken
    from trainer.models.model import checkpoint_activations

    model = llama(work)
    huggingface.attach(model.config, window=None if "no window" in work.program else work.window)
    objective: Any = NextToken(model, Precision(torch.float32))
    return_freed_memory()
    if work.program.startswith("checkpointed"):
        checkpoint_activations(model)
    elif not work.program.startswith("plain"):
        gradients: Any = "truncated" if work.program == "truncated" else "exact"
        recompute = "recomputed" in work.program
        objective = Chunked(objective, ChunkSettings(work.chunk, gradients, recompute))

    def step() -> int:
        drawn, stored = tokens(work.length), 0
        for part in objective.parts(Batch(drawn[:, :-1], drawn[:, 1:], None)):
            torch.autograd.backward(part.loss / work.length)
            stored = max([stored, *(each.nbytes for each in carry._current)])
        model.zero_grad()
        return stored

    return step


def plain(model: Any, work: Work) -> int:
    drawn = tokens(work.length)
    logits = model(input_ids=drawn[:, :-1], use_cache=False).logits
    torch.autograd.backward(F.cross_entropy(logits[0], drawn[0, 1:]))
    model.zero_grad()
    return 0


def seco(model: Any, work: Work) -> int:
    """Sequential chunk-wise optimization: the first pass stores all keys and values, then chunks run backward."""
    from transformers import DynamicCache

    torch.manual_seed(1)
    drawn = tokens(work.length)
    starts = range(0, work.length, work.chunk)
    cache: Any = DynamicCache(config=model.config)
    with torch.no_grad():
        for start in starts:
            model(
                input_ids=drawn[:, start : min(start + work.chunk, work.length)],
                past_key_values=cache,
                logits_to_keep=1,
            )
    stored = [[layer.keys, layer.values] for layer in cache.layers]
    gradients = [[torch.zeros_like(x) for x in pair] for pair in stored]
    del cache
    for start in reversed(starts):
        end = min(start + work.chunk, work.length)
        past = [[x[:, :, :start].detach().requires_grad_() for x in pair] for pair in stored]
        chunk_cache: Any = DynamicCache(config=model.config)
        for layer, pair in enumerate(past):
            if start:
                chunk_cache.update(pair[0], pair[1], layer)
        logits = model(input_ids=drawn[:, start:end], past_key_values=chunk_cache).logits
        loss = F.cross_entropy(logits[0], drawn[0, start + 1 : end + 1], reduction="sum") / work.length
        made = [x[:, :, start:] for layer in chunk_cache.layers for x in (layer.keys, layer.values)]
        received = [x[:, :, start:end] for pair in gradients for x in pair]
        torch.autograd.backward([loss, *made], [None, *received])
        for pair, pair_gradients in zip(past, gradients, strict=True):
            for x, gradient in zip(pair, pair_gradients, strict=True):
                if x.grad is not None:
                    gradient[:, :, :start] += x.grad
    model.zero_grad()
    return sum(x.nbytes for pair in stored for x in pair)


def streambp(work: Work) -> Callable[[], int]:
    # Its trainers, which are not used here, import trl with all that it needs.
    trainers = types.ModuleType("streambp.trainers")
    for name in ("StreamDPOTrainer", "StreamGRPOTrainer", "StreamSFTTrainer"):
        setattr(trainers, name, None)
    sys.modules["streambp.trainers"] = trainers
    from streambp import StreamModel  # type: ignore[import-not-found]

    stream = StreamModel(
        model=llama(work), gradient_accumulation_steps=1, logits_chunk_size=work.chunk, checkpoint_chunk_size=work.chunk,
        stream_checkpoint=True,
    )  # fmt: skip
    stream.gradient_checkpointing_enable()

    def step() -> int:
        drawn = tokens(work.length)[:, :-1]
        stream(input_ids=drawn, labels=drawn, attention_mask=torch.ones_like(drawn))
        stream.model.zero_grad()
        return 0

    return step
