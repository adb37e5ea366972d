"""Proof that a built model keeps tokens apart: from later tokens, from other documents, from tokens outside the window.

A few tokens go through the model, then the same with one token changed; the logits that it must not reach are compared.
The calls to `attention` are recorded as well, so a layer that lost its document ids is found even if its weights are so
small that the logits barely move. The windows of real models are too long to look past. So every window is cut to one
token instead: if a changed token then reaches another one, the model mixes tokens outside of `attention`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.attention import huggingface
from trainer.attention.call_trace import Trace, traced
from trainer.attention.pattern import layer_windows, trained_windows

LENGTH = 6  # tokens, in two documents of the same length
# Change of logits that counts as a change, as a fraction of the change where one is expected. Rounding stays below it.
NOTICEABLE = {torch.float64: 1e-6, torch.float32: 1e-3}
NOTICEABLE_16_BITS = 0.05


@dataclass(frozen=True)
class ModelProof:
    """What was proven about a model. A text says what fails; None if nothing does.

    Attributes:
        causality: earlier tokens do not depend on later ones.
        isolation: documents of a packed row do not depend on each other.
        windows: each layer has its window, and tokens are mixed by attention alone.
    """

    causality: str | None = None
    isolation: str | None = None
    windows: str | None = None

    def failures(self, packed: bool, windows: bool) -> list[str]:
        """What fails of causality, and of isolation and windows if they are used."""
        found = (self.causality, self.isolation if packed else None, self.windows if windows else None)
        return [text for text in found if text]


@torch.no_grad()
def prove(model: Any) -> ModelProof:
    """Prove a causal language model that `huggingface.attach` has prepared. Changes neither it nor the random state."""
    device = next(model.parameters()).device
    size = model.config.get_text_config().vocab_size
    tokens = torch.arange(LENGTH, device=device)[None] % size
    documents = (torch.arange(LENGTH, device=device) >= LENGTH // 2).long()[None]
    with evaluating(model):
        causality = _causality(model, tokens, size)
        isolation, trace = _isolation(model, tokens, documents, size)
        return ModelProof(causality, isolation, _windows(model, tokens, size, trace))


@torch.no_grad()
def passes_on_document_ids(model: Any) -> bool:
    """Whether the model passes the keyword `document_ids` on to every layer."""
    tokens = torch.zeros(1, LENGTH, dtype=torch.long, device=next(model.parameters()).device)
    with evaluating(model), traced() as trace:
        model(input_ids=tokens, document_ids=tokens, use_cache=False)
    return bool(trace.calls) and all(call.documents for call in trace.calls)


def _causality(model: Any, tokens: Tensor, size: int) -> str | None:
    moved = _moved(model, tokens, LENGTH - 1, size)
    return "a token depends on later ones" if moved.reaches(slice(0, LENGTH - 1)) else None


def _isolation(model: Any, tokens: Tensor, documents: Tensor, size: int) -> tuple[str | None, Trace]:
    with traced() as trace:
        moved = _moved(model, tokens, 0, size, documents)
    if moved.reaches(slice(LENGTH // 2, LENGTH)):
        return "a document depends on the one before it in its row", trace
    without = sorted({str(call.layer) for call in trace.calls if not call.documents})
    if without or not trace.calls:
        return f"layers {', '.join(without) or 'of all kinds'} do not receive the documents of a row", trace
    return None, trace


def _windows(model: Any, tokens: Tensor, size: int, trace: Trace) -> str | None:
    expected = layer_windows(model.config)
    for call in trace.calls:
        if call.layer is not None and call.layer < len(expected) and call.window != expected[call.layer]:
            return f"layer {call.layer} has the window {call.window}, not {expected[call.layer]}"
    if not any(trained_windows(model.config)):
        return None  # the windows of the architecture itself, with whatever else it has
    with traced(blind=True):
        moved = _moved(model, tokens, 0, size)
    if moved.reaches(slice(1, LENGTH)):
        return "tokens reach others outside of attention, where no window applies"
    return None


@dataclass(frozen=True)
class _Moved:
    """How far the logits of each token moved, (S,), and the fraction of the largest change that counts."""

    change: Tensor
    noticeable: float

    def reaches(self, tokens: slice) -> bool:
        return bool(self.change[tokens].max() > self.noticeable * self.change.max())


def _moved(model: Any, tokens: Tensor, position: int, size: int, documents: Tensor | None = None) -> _Moved:
    """Change one token."""
    changed = tokens.clone()
    changed[0, position] = (changed[0, position] + size // 2 + 1) % size
    before, after = (_logits(model, each, documents) for each in (tokens, changed))
    noticeable = NOTICEABLE.get(next(model.parameters()).dtype, NOTICEABLE_16_BITS)
    return _Moved((after - before).abs().amax(-1)[0], noticeable)


def _logits(model: Any, tokens: Tensor, documents: Tensor | None) -> Tensor:
    with huggingface.documents(documents):
        logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits.float()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """While entered, the model is in evaluation mode, so that dropout draws no random numbers."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
