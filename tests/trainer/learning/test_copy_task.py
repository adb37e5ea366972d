"""A task that needs memory across chunks: the answer at a position is the token a fixed distance before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainer.small_models import model
from trainer.data import IGNORED, Batch
from trainer.device import Precision
from trainer.learning.chunks import Chunked, ChunkSettings
from trainer.learning.objective import NextToken

C, SYMBOLS = 8, 16
S = 4 * C


def rows(generator: torch.Generator, distance: int, first: int, count: int = 16) -> Batch:
    """Random tokens; targets from position `first` on."""
    tokens = torch.randint(0, SYMBOLS, (count, S), generator=generator)
    targets = torch.full_like(tokens, IGNORED)
    targets[:, first:] = tokens[:, first - distance : S - distance]
    return Batch(tokens, targets, None)


def accuracy(
    settings: ChunkSettings, kind: str, distance: int, first: int, steps: int, **sizes: Any
) -> float:
    """The accuracy, after training, of targets whose source is in an earlier chunk."""
    network = model(kind, **sizes).train()
    objective = Chunked(NextToken(network, Precision(torch.float32)), settings)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        drawn = rows(generator, distance, first)
        for part in objective.parts(drawn):
            torch.autograd.backward(part.loss / drawn.valid_tokens())
        optimizer.step()
        optimizer.zero_grad()
    network.eval()
    drawn = rows(torch.Generator().manual_seed(9), distance, first, 64)
    drawn.targets[:, torch.arange(S) % C >= distance] = IGNORED
    score = objective.score(drawn)
    return score.correct / score.valid


@pytest.mark.long
def test_a_token_from_three_chunks_back() -> None:
    """Its embedding and its key have a gradient only through the carry, so truncated gradients do not learn it."""
    sizes = {"n_positions": S, "n_layer": 1, "n_embd": 64}

    def learned(settings: ChunkSettings, window: int | None) -> float:
        return accuracy(settings, "gpt2", 3 * C, 3 * C, 250, window=window, **sizes)

    assert learned(ChunkSettings(C, "exact"), 3 * C + 1) > 0.95
    assert learned(ChunkSettings(C), 3 * C + 1) < 0.3
    assert learned(ChunkSettings(C, "exact", limit=1), None) < 0.3
