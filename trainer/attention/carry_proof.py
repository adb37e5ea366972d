"""Proof that a built model computes the same logits in chunks as in one piece."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.attention.carry import Carry, windows_of
from trainer.attention.kv_cache import cache_argument
from trainer.attention.model_proof import NOTICEABLE, NOTICEABLE_16_BITS, evaluating

LENGTH, CHUNK = 11, 4  # tokens; the last chunk is shorter


@torch.no_grad()
def prove(model: Any) -> str | None:
    """What fails, for a causal language model that `huggingface.attach` has prepared; None if nothing does."""
    parameter = next(model.parameters())
    tokens = torch.arange(LENGTH, device=parameter.device)[None] % model.config.get_text_config().vocab_size
    with evaluating(model):
        expected = model(input_ids=tokens, use_cache=False).logits.float()
        found = _in_chunks(model, tokens).float()
    allowed = NOTICEABLE.get(parameter.dtype, NOTICEABLE_16_BITS) * float(expected.abs().max())
    difference = float((found - expected).abs().max())
    if difference <= allowed:
        return None
    return f"its logits in chunks differ by {difference:.2g} from those of the whole sequence"


def _in_chunks(model: Any, tokens: Tensor) -> Tensor:
    carry = Carry(windows_of(model.config), CHUNK, LENGTH)
    logits = []
    for chunk in range(carry.count):
        with carry.at(chunk):
            past = {cache_argument(model): carry}
            logits.append(model(input_ids=tokens[:, carry.slice(chunk)], use_cache=False, **past).logits)
    return torch.cat(logits, dim=1)
