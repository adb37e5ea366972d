"""What a training step works on: a run, which is fixed, and its progress, which changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from trainer.config import DataSection, TrainConfig, TrainingSection
from trainer.data import Dataset, Order
from trainer.distributed.processes import ALONE, Processes
from trainer.learning.divergence import Checkpoints
from trainer.learning.early_stop import Best
from trainer.learning.objective import Objective
from trainer.learning.position import Position
from trainer.learning.sharded_objective import Shards
from trainer.mfu import UNKNOWN, Utilization
from trainer.models.tokenizer import Tokenizer

Result = TypeVar("Result")


@dataclass(frozen=True)
class MemorySettings:
    """How a step is computed to fit into memory. The result is the same up to rounding.

    Attributes:
        micro_batch_size: sequences in one forward pass, at most; None for a whole batch.
        gradient_checkpointing: recompute activations in the backward pass instead of storing them.
        chunk_size: tokens in a chunk of a sequence; None if sequences are not computed in chunks.
    """

    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    chunk_size: int | None = None

    @classmethod
    def configured(cls, config: TrainConfig) -> MemorySettings:
        """The settings before any step has run out of memory."""
        training = config.training
        return cls(
            gradient_checkpointing=config.model.gradient_checkpointing,
            chunk_size=training.chunk_tokens if training.use_chunked_training else None,
        )

    def __str__(self) -> str:
        size = f"micro-batches of {self.micro_batch_size}" if self.micro_batch_size else "whole batches"
        chunks = f" in chunks of {self.chunk_size} tokens" if self.chunk_size else ""
        return f"{size}{chunks}{' and gradient checkpointing' if self.gradient_checkpointing else ''}"


@dataclass(kw_only=True)
class Progress:
    """What changes during a run.

    Attributes:
        memory: changed when a step runs out of memory; later steps keep it.
        tokens_per_second: of all processes together, for each step since the start or resume.
        best: the evaluation with the lowest held-out loss; with early_stop_patience only.
    """

    position: Position = field(default_factory=Position)
    memory: MemorySettings = field(default_factory=MemorySettings)
    tokens_per_second: list[float] = field(default_factory=list)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    best: Best = field(default_factory=Best)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What stays fixed during a run.

    Attributes:
        objective: computes the loss.
        labels: fields repeated in every train record: window_size, chunk_size, backend.
        utilization: FLOPs per token and the peak of the device.
        data: settings for the order in which samples are read.
        processes: the rank of this process and the number of processes.
        shards: this process's shard of the model; None if it holds the whole model.
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
        """Return the result of a computation that uses the model, sharded or not."""
        return self.shards.forward_of(compute) if self.shards else compute()
