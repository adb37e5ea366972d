"""The memory of a step in chunks, continued from two short sequences, against that of the whole step on fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainer.small_models import model
from trainer.config import TrainingSection
from trainer.device import Precision
from trainer.learning.chunks import Chunked, ChunkSettings, groups
from trainer.learning.objective import NextToken
from trainer.learning.offload import Offloaded
from trainer.models.model import checkpoint_activations
from trainer.survival import chunk_estimate
from trainer.survival.chunk_estimate import ChunkMemory
from trainer.survival.memory_estimate import MemoryEstimate, estimate

GPU = torch.device("cuda")
C, W, COUNT = 32, 24, 10
LENGTH = C * COUNT
TOKEN = 2 * 2 * 2 * 8 * 4  # bytes of keys and values: layers, both, heads, width, float32


def estimated(settings: ChunkSettings, window: int | None = W, offload: bool = False) -> MemoryEstimate:
    def build() -> Any:
        network = model("llama", window=window, max_position_embeddings=LENGTH)
        checkpoint_activations(network)
        chunked = Chunked(NextToken(network, Precision(torch.float32)), settings)
        return network, Offloaded(chunked, smallest=1) if offload else chunked

    return estimate(build, TrainingSection(), GPU, (1, LENGTH), packed=False)


@pytest.mark.parametrize(
    ("settings", "window", "carry", "host"),
    [
        (ChunkSettings(C, "exact"), W, (COUNT - 1) * (W - 1) * TOKEN, 0),
        (ChunkSettings(C, "exact", recompute=True), W, None, 0),
        pytest.param(ChunkSettings(C, "exact"), None, 2 * LENGTH * TOKEN, 0, marks=pytest.mark.long),
        pytest.param(ChunkSettings(C), W, 2 * (W - 1) * TOKEN, 0, marks=pytest.mark.long),
        pytest.param(
            ChunkSettings(C, "exact", on_host=True),
            W,
            None,
            (COUNT - 1) * (W - 1) * TOKEN,
            marks=pytest.mark.long,
        ),
        (ChunkSettings(C, "exact", on_host=True), None, 0, 2 * LENGTH * TOKEN),
    ],
)
def test_two_short_sequences_tell_the_memory_of_a_long_one(
    settings: ChunkSettings,
    window: int | None,
    carry: int | None,
    host: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = estimated(settings, window)
    monkeypatch.setattr(chunk_estimate, "memory", lambda step, objective, length: step(objective, length))
    whole = estimated(settings, window)
    assert found.total - found.counted == pytest.approx(whole.total - whole.counted, rel=0.02)
    assert found.carry == pytest.approx(whole.carry, rel=0.15, abs=2 * W * TOKEN)
    copied = 2 * LENGTH * TOKEN // 2  # the gradients of a layer, on their way
    assert host <= found.host <= 1.02 * host + (copied if window is None else 0)
    assert found.host == pytest.approx(whole.host, rel=0.15)
    if carry is not None:
        assert found.carry == pytest.approx(carry, rel=0.1, abs=2 * W * TOKEN)
    if settings.recompute:
        kept = len(groups(COUNT)) - 1 + len(groups(COUNT)[0])
        assert found.carry == pytest.approx(kept * (W - 1) * TOKEN, rel=0.15)


def test_offloaded_activations_are_counted_as_the_hosts() -> None:
    here, offloaded = (estimated(ChunkSettings(C, "exact"), offload=offload) for offload in (False, True))
    assert here.host == 0
    assert offloaded.host > 0
    assert offloaded.total < here.total


def test_memory_grows_from_the_first_to_the_second_and_on() -> None:
    first, second = ChunkMemory(100, 10, 0), ChunkMemory(130, 20, 8)
    assert first.continued(second, 2) == ChunkMemory(190, 40, 24)
    assert second.continued(first, 2) == first, "memory never shrinks with the length"
