"""All that a training step works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from trainer.config import DataSection, TrainingSection
from trainer.data import Dataset, Order
from trainer.mfu import UNKNOWN, Utilization
from trainer.objective import Objective
from trainer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Run:
    """All that a step works on.

    Attributes:
        objective: how the model learns.
        labels: what every train record repeats: window_size, chunk_size, backend.
        utilization: what a token costs here.
        rates: tokens per second of each step so far.
        data: how the data set is gone through.
        rank, processes: which process this is, of how many.
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
    data: DataSection = field(default_factory=DataSection)
    rank: int = 0
    processes: int = 1

    @property
    def order(self) -> Order:
        data = self.data
        return Order(
            self.training.seed,
            data.dataset_chunk_size,
            data.linear_dataset,
            data.dataset_start_offset,
            self.rank,
            self.processes,
        )
