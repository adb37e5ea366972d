"""Sampling text from a model, with its key-value cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from doctor.capability import Capability
from trainer import checkpoint, model, tokenizer
from trainer.attention import huggingface
from trainer.attention.choice import decide
from trainer.device import choose_device, choose_precision
from trainer.errors import UserError
from trainer.progress import Say
from trainer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: choose among the k likeliest; 0 among all.
        seed: same seed, same text.
    """

    max_new_tokens: int = 200
    temperature: float = 0.8
    top_k: int = 0
    seed: int = 1234


def load(
    path: Path, device_name: str, backend: str, proven: Capability | None, say: Say
) -> tuple[Any, Tokenizer]:
    """The model and tokenizer of a checkpoint, ready to sample from, with the window it was trained with.

    Raises:
        UserError: there is no whole checkpoint, or no such device.
    """
    folder = checkpoint.find(path, say)
    device = choose_device(device_name)
    config = model.read_config(folder)
    text = tokenizer.load(None, folder)
    model.check(config, text, max_length=1)
    if not model.has_weights(folder):
        raise UserError(f"{folder.absolute()} holds a model configuration and no weights: train it first.")
    window = huggingface.window_of(config)
    request = model.attention_request(
        config, device, choose_precision(device, amp=False), window, packed=False, training=False
    )
    decision = decide(backend, request, proven)
    for line in decision.log_lines():
        say(line)
    huggingface.attach(config, backend=decision.backend, window=window)
    network, notes = model.build(config, folder, seed=0)
    for note in notes:
        say(f"WARNING: {note}")
    return network.to(device).eval(), text


@torch.inference_mode()
def generate(
    model: Any, prompt: list[int], sampling: Sampling, end_id: int, vocab_size: int
) -> Iterator[int]:
    """Yield new tokens, up to and without the end-of-text token.

    A model with a fixed number of positions goes on past them: it reads the latest half of the text again.

    Args:
        model: a causal language model of transformers.
        prompt: token ids; the end-of-text token stands for an empty one.
        vocab_size: ids from here on are not the tokenizer's, so they are never chosen.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    tokens = prompt or [end_id]
    new, cached, cache = tokens, 0, None
    for _ in range(sampling.max_new_tokens):
        if positions and cached + len(new) > positions:
            new, cached, cache = tokens[-(positions // 2 or 1) :], 0, None
        output = model(
            input_ids=torch.tensor([new], device=model.device), past_key_values=cache, use_cache=True
        )
        cache, cached = output.past_key_values, cached + len(new)
        token = choose(output.logits[0, -1, :vocab_size], sampling, generator)
        if token == end_id:
            return
        yield token
        new = [token]
        tokens = tokens + new


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A token id, by the logits (V,) of the next token."""
    logits = logits.float().cpu()
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], float("-inf"))
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))
