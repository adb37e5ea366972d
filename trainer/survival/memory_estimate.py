"""How much memory a run will take, foreseen before its weights are loaded.

A step is taken with tensors that have shapes and no numbers (torch's FakeTensorMode), by the very code that will train, and
every storage is counted from its making to its end. So it holds for any architecture, window, objective and precision, and
with activations checkpointed or not. On the CPU: there torch chooses kernels that keep what those of a GPU keep.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import masking_utils

from trainer.config import TrainingSection
from trainer.data import Batch
from trainer.errors import UserError
from trainer.learning.objective import Objective
from trainer.learning.optimizer import inner_matrices
from trainer.say import Say

# Bytes that an optimizer keeps for each number: of the matrices inside the model, and of all else.
STATE = {"adamw": (8, 8), "muon": (4, 8), "adamw_8bit": (2, 8)}
# What the first step brings beside tensors: code and buffers of oneDNN (measured); context and libraries of CUDA (usual).
BESIDE = {"cpu": 40 << 20, "cuda": 512 << 20}
EQUAL = (torch.ops.aten.allclose.default, torch.ops.aten.equal.default)


@dataclass(frozen=True)
class Need:
    """Bytes at the peak of a step.

    Attributes:
        weights, gradients, state: what is there in every step; state is the optimizer's.
        activations: all else: what the backward pass is kept for, and what is computed with.
    """

    weights: int
    gradients: int
    state: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.state + self.activations

    def ways_out(self, free: int) -> str:
        """What might take less."""
        if self.total - self.activations <= free:
            return (
                "Less take: smaller batches, accumulated (--batch-size, --gradient-accumulation-steps), checkpointed "
                "activations (--gradient-checkpointing), shorter sequences (--max-length)."
            )
        return (
            "Weights, gradients and optimizer alone are too much. Less take: adapters in place of all weights (LoRA, "
            "--use-peft), 8-bit optimizer state (--optimizer adamw_8bit), a smaller model."
        )

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.state,
            "activations": self.activations,
        }
        return f"{gib(self.total)} ({', '.join(f'{name} {gib(size)}' for name, size in parts.items())})"


def foresee(
    learner: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    shares: int = 1,
) -> Need | None:
    """What a step takes; None where shapes depend on numbers, as in a mixture of experts.

    Args:
        learner: makes the model, ready to be trained, and its objective.
        shape: sequences in a forward pass, tokens in a sequence.
        packed: sequences hold several documents.
        shares: processes that weights, gradients and optimizer state are shared out over.
    """
    live = _Live()
    with FakeTensorMode(), live, _one_sequence_a_row(), _modules_unmoved():
        model, objective = learner()
        model.train()
        tokens = torch.zeros(shape, dtype=torch.long)
        batch = Batch(tokens, tokens, tokens if packed else None)
        try:
            for part in objective.parts(batch):
                torch.autograd.backward(part.loss)
        except DynamicOutputShapeException:
            return None
        parameters = [*model.parameters()]
        weights = sum(tensor.nbytes for tensor in (*parameters, *model.buffers()))
        gradients = sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)
        inner = inner_matrices(model)
        inside, outside = STATE[training.optimizer]
        state = sum(
            parameter.numel() * (inside if parameter in inner else outside)
            for parameter in parameters
            if parameter.requires_grad
        )
    activations = max(0, live.peak - weights - gradients) + BESIDE[device.type]
    # With shares gradients are summed, and so shared out, at a step's last batch; until then they stay whole.
    shared = gradients // shares if training.gradient_accumulation_steps == 1 else gradients
    return Need(weights // shares, shared, state // shares, activations)


@dataclass(frozen=True)
class Preflight:
    """What a run will take, and what there is.

    Attributes:
        need: None where it cannot be foreseen.
        free: bytes of the device that nobody uses.
        used: bytes that this process has on it already.
        device: its name.
    """

    need: Need | None
    free: int
    used: int
    device: str

    def tell(self, say: Say, force: bool) -> None:
        """Say so.

        Args:
            force: let a run begin that will not fit.

        Raises:
            UserError: it will not.
        """
        if self.need is None:
            say("INFO: memory cannot be foreseen: shapes in this model depend on what it reads")
            return
        say(f"INFO: memory: a step takes about {self.need}; {self.device} has {gib(self.free)} free")
        if self.need.total > self.free and not force:
            raise UserError(
                f"A step takes about {gib(self.need.total)} of memory, and {self.device} has {gib(self.free)} free. "
                f"{self.need.ways_out(self.free)} --force starts all the same."
            )


def preflight(
    learner: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    shares: int,
) -> Preflight:
    """Foresee a run on a device; see `foresee`."""
    need = foresee(learner, training, device, shape, packed, shares)
    if device.type == "cuda":
        return Preflight(need, torch.cuda.mem_get_info(device)[0], 0, str(device))
    process = psutil.Process().memory_info().rss
    return Preflight(need, psutil.virtual_memory().available, process, "this machine")


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


@contextmanager
def _one_sequence_a_row() -> Iterator[None]:
    """While entered, transformers finds no packed sequences: in positions without numbers it would find them always."""
    found = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = lambda position_ids: None
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = found


@contextmanager
def _modules_unmoved() -> Iterator[None]:
    """Where modules stay where they are: torch cannot convert parameters without numbers, and peft asks it to."""
    own = nn.Module.to
    nn.Module.to = lambda self, *_, **__: self  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.to = own  # type: ignore[method-assign]


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are alive, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        try:
            result = func(*args, **(kwargs or {}))
        except (
            DataDependentOutputException
        ):  # there are no numbers: what is compared is equal, and what is asked for is 0
            return func in EQUAL
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name not in self._known:
            self._known.add(name)
            self._now += size
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._forget, name, size)

    def _forget(self, name: int, size: int) -> None:
        self._known.discard(name)
        self._now -= size
