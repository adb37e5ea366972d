"""All that a training step works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from trainer.config import DataSection, TrainingSection
from trainer.data import Dataset, Order
from trainer.distributed.processes import ALONE, Processes
from trainer.learning.objective import Objective
from trainer.learning.sharded_objective import Shards
from trainer.mfu import UNKNOWN, Utilization
from trainer.models.tokenizer import Tokenizer

Result = TypeVar("Result")


@dataclass
class Economy:
    """How a step saves memory. It grows when memory runs out, and the steps that follow keep to it.

    Attributes:
        sequences: in one forward pass, at most; None for a whole batch.
        checkpointed: activations are computed again in the backward pass, not kept.
    """

    sequences: int | None = None
    checkpointed: bool = False

    def __str__(self) -> str:
        size = f"micro-batches of {self.sequences}" if self.sequences else "whole batches"
        return size + (", checkpointed activations" if self.checkpointed else "")


@dataclass(frozen=True)
class Run:
    """All that a step works on.

    Attributes:
        objective: how the model learns.
        labels: what every train record repeats: window_size, chunk_size, backend.
        utilization: what a token costs here.
        rates: tokens per second of each step so far.
        economy: what had to be saved so far.
        data: how the data set is gone through.
        processes: which process this is, of how many.
        shards: this process's share of the model; None where it has all of it.
    """

    model: Any
    objective: Objective
    tokenizer: Tokenizer
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    dataset: Dataset
    training: TrainingSection
    device: torch.device
    labels: dict[str, Any]
    utilization: Utilization = UNKNOWN
    rates: list[float] = field(default_factory=list)
    economy: Economy = field(default_factory=Economy)
    data: DataSection = field(default_factory=DataSection)
    processes: Processes = ALONE
    shards: Shards | None = None

    @property
    def order(self) -> Order:
        data = self.data
        return Order(
            self.training.seed,
            data.dataset_chunk_size,
            data.linear_dataset,
            data.dataset_start_offset,
            self.processes.rank,
            self.processes.count,
        )

    def with_model(self, compute: Callable[[], Result]) -> Result:
        """Compute something that goes through the model, whole or in shares."""
        return self.shards.forward_of(compute) if self.shards else compute()
