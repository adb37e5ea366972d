"""Offloaded activations: the same gradients, weights stay where they are, an estimate does not count them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainer.learning.test_chunks import FULL, backpropagate, batch, distance, objective_of
from tests.trainer.small_models import model
from trainer.chunking import as_configured, warnings
from trainer.config import TrainConfig, TrainingSection
from trainer.data import Batch
from trainer.learning.chunks import Chunked, ChunkSettings, in_chunks_of
from trainer.learning.objective import NextToken
from trainer.learning.offload import Offloaded, _OnHost
from trainer.models.model import checkpoint_activations
from trainer.survival.memory_estimate import estimate

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("chunks", [None, ChunkSettings(7, "exact")])
def test_gradients_are_the_same(
    checkpointed: bool, chunks: ChunkSettings | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, rows = model("llama", window=8), batch()
    if checkpointed:
        checkpoint_activations(network)
    inner = Chunked(objective_of(network), chunks) if chunks else objective_of(network)
    loss, expected = backpropagate(inner, network, rows)
    moved: list[Any] = []
    real = Offloaded._to_host

    def to_host(self: Offloaded, tensor: torch.Tensor) -> Any:
        result = real(self, tensor)
        if isinstance(result, _OnHost):
            moved.append(tensor)
        return result

    monkeypatch.setattr(Offloaded, "_to_host", to_host)
    found, gradients = backpropagate(Offloaded(inner, smallest=1), network, rows)
    assert (found, distance(gradients, expected)) == (loss, 0.0)
    hidden = network.config.hidden_size
    assert any(tensor.shape[-1] == hidden and tensor.ndim == 3 for tensor in moved), "inputs of layers"
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    assert not weights & {tensor.data_ptr() for tensor in moved}
    moved.clear()
    backpropagate(Offloaded(inner), network, rows)
    assert not moved, "small tensors stay"


def test_the_estimate_counts_them_for_a_cpu_only() -> None:
    def activations(offload: bool) -> int:
        def build() -> Any:
            network = model("llama", hidden_size=64, num_hidden_layers=6, max_position_embeddings=128)
            checkpoint_activations(network)
            inner = NextToken(network, FULL)
            return network, Offloaded(inner, smallest=1) if offload else inner

        found = estimate(build, TrainingSection(), CPU, (16, 128), packed=False).activations
        assert found is not None
        return found

    layer_input = 16 * 128 * 64 * 4
    assert activations(False) - activations(True) >= 4 * layer_input


def test_when_it_is_used() -> None:
    training = TrainingSection(offload_activations=True, use_chunked_training=True, chunk_size=512)
    objective = objective_of(model("llama"))
    on_gpu = as_configured(objective, training, GPU)
    assert isinstance(on_gpu, Offloaded) and isinstance(on_gpu.objective, Chunked)
    smaller = in_chunks_of(on_gpu, 128)
    assert isinstance(smaller, Offloaded) and isinstance(smaller.objective, Chunked)
    assert smaller.objective.settings.size == 128
    assert isinstance(as_configured(objective, training, CPU), Chunked)
    config = TrainConfig(training=TrainingSection(offload_activations=True))
    assert "no effect on a CPU" in next(warnings(config, (None,), CPU))
    assert not [*warnings(config, (None,), GPU)]


def test_scores_are_not_affected() -> None:
    network = model("llama").eval()
    rows: Batch = batch()
    inner = objective_of(network)
    assert Offloaded(inner).score(rows) == inner.score(rows)
