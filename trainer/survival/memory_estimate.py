"""Estimate of the memory that a run needs, made before its weights are loaded.

The training code itself takes a step on fake tensors, which have shapes but no data (torch's FakeTensorMode), and every
storage is counted from its allocation to its release. So the estimate works for any architecture, window, objective and
precision, with or without gradient checkpointing. Where a model cannot be computed without data, weights, gradients and
optimizer state are counted nevertheless. The fake tensors are on the CPU, where torch chooses kernels that store
the same activations as those of a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainer.attention import carry
from trainer.config import TrainingSection
from trainer.data import Batch
from trainer.learning import cross_entropy
from trainer.learning.chunks import Chunked, ChunkSettings
from trainer.learning.objective import Objective
from trainer.learning.offload import Offloaded
from trainer.learning.optimizer import PAGED, inner_matrices
from trainer.models import vocabulary
from trainer.models.fake_model import fake_tensors
from trainer.survival import chunk_estimate
from trainer.survival.chunk_estimate import ChunkMemory
from trainer.survival.live_tensors import LiveTensors

# Bytes of optimizer state per parameter: of matrices inside the model, and of all others.
STATE = {"adamw": (8, 8), "muon": (4, 8), "adamw_8bit": (2, 8), PAGED: (2, 8)}
# Memory that the first step needs besides tensors: oneDNN's code and buffers (measured); CUDA's context and libraries (usual).
OVERHEAD = {"cpu": 40 << 20, "cuda": 512 << 20}
Known = dict[tuple[int, ChunkSettings | None], ChunkMemory | None]


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the peak of a step.

    Attributes:
        state: of the optimizer.
        activations: everything else: tensors stored for the backward pass, and temporary ones. None if they cannot be
            estimated; the others are counted, not estimated.
        logits: what the loss holds of logits and their gradients.
        carry: keys and values that chunks take over from earlier ones, and their gradients.
        host: in the host's memory instead of the device's; not part of the total.
    """

    weights: int
    gradients: int
    state: int
    activations: int | None
    logits: int = 0
    carry: int = 0
    host: int = 0

    @property
    def counted(self) -> int:
        return self.weights + self.gradients + self.state

    @property
    def total(self) -> int:
        return self.counted + (self.activations or 0) + self.logits + self.carry

    def advice(self, free: int) -> str:
        """How to need less memory."""
        if self.counted <= free:
            return (
                "To use less memory: a smaller --batch-size with more --gradient-accumulation-steps, "
                "--gradient-checkpointing, chunks of long sequences (--use-chunked-training --chunk-gradients exact), or a "
                "shorter --max-length."
            )
        return (
            "Weights, gradients and optimizer state alone do not fit. To use less memory: LoRA (--use-peft), 8-bit "
            "optimizer state (--optimizer adamw_8bit), or a smaller model."
        )

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.state,
            "activations": None if self.activations is None else self.activations + self.logits,
            **({"carry": self.carry} if self.carry else {}),
        }
        texts = (f"{name} {'unknown' if size is None else gib(size)}" for name, size in parts.items())
        host = f", and {gib(self.host)} of the host's" if self.host else ""
        return f"{gib(self.total)} ({', '.join(texts)}){host}"


def estimate(
    build: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    shards: int = 1,
) -> MemoryEstimate:
    """Estimate the memory of a step. If the step cannot be taken on fake tensors, its activations are None.

    Args:
        build: returns the model, ready to be trained, and its objective.
        shape: samples in a forward pass, tokens in a sequence. Of preference data, a sample is two sequences.
        packed: whether sequences hold several documents.
        shards: number of processes that weights, gradients and optimizer state are sharded over.
    """
    whole = trace(build, training, device, shape, packed).estimate(device)
    # FSDP reduces gradients to shards at the last batch of a step, or at every one; until then they stay whole.
    reduced = training.gradient_accumulation_steps == 1 or training.reduce_every_batch
    gradients = whole.gradients // (shards if reduced else 1)
    return replace(whole, weights=whole.weights // shards, gradients=gradients, state=whole.state // shards)


@dataclass(frozen=True)
class Trace:
    """Bytes of a step on fake tensors.

    Attributes:
        complete: whether the step could be taken; the following are 0 otherwise.
        forward, backward: the peaks of all tensors in forward and in backward passes.
        end: the peak in a backward pass after the gradients of the second layer.
        logits: the logits and their gradients in a forward pass, at its peak.
        stored: of all tensors between a forward and its backward pass.
        carry, host: see `MemoryEstimate`.
    """

    weights: int
    gradients: int
    state: int
    complete: bool
    forward: int = 0
    backward: int = 0
    end: int = 0
    logits: int = 0
    stored: int = 0
    carry: int = 0
    host: int = 0

    def estimate(self, device: torch.device) -> MemoryEstimate:
        if not self.complete:
            return MemoryEstimate(self.weights, self.gradients, self.state, None)
        backward = max(self.backward, self.end)
        rest = max(0, max(self.forward, backward) - self.weights - self.gradients)
        logits = min(self.logits, rest) if self.forward >= backward else 0
        carried = min(self.carry, rest - logits)
        activations = rest - logits - carried + OVERHEAD[device.type]
        return MemoryEstimate(
            self.weights, self.gradients, self.state, activations, logits, carried, self.host
        )


def trace(
    build: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    known: Known | None = None,
) -> Trace:
    """Take a step on fake tensors. The other arguments are those of `estimate`.

    Args:
        known: memory of steps in chunks that were taken before; filled by this function.
    """
    live = LiveTensors()
    with fake_tensors(live), cross_entropy.chunks_as_on(device):
        model, objective = build()
        model.train()
        live.vocabulary = vocabulary.rows(model.config) if hasattr(model, "config") else None
        second = [p for name, p in model.named_parameters() if ".1." in name and p.requires_grad]
        rows = (2 * shape[0], shape[1]) if training.preference else shape
        passes = _passes(objective, rows, packed, live, second, {} if known is None else known)
        parameters = [*model.parameters()]
        weights = sum(_weights_bytes(each) for each in (model, _frozen_copy(objective)) if each is not None)
        gradients = sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)
        state = _state_bytes(model, training, device)
    return Trace(weights, gradients, state, passes is not None, **(passes or {}))


def _weights_bytes(model: Any) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in (*model.parameters(), *model.buffers()))


def _frozen_copy(objective: Any) -> Any | None:
    """The second model that a preference loss holds, if it does."""
    copy = getattr(_inner(objective), "copy", None)
    return copy and copy.model


def _inner(objective: Any) -> Any:
    return objective.objective if isinstance(objective, Offloaded) else objective


def _passes(
    objective: Objective,
    shape: tuple[int, int],
    packed: bool,
    live: LiveTensors,
    second: list[Tensor],
    known: Known,
) -> dict[str, int] | None:
    """What the passes of a step need; None if the model cannot be computed on fake tensors."""
    if not isinstance(objective, (Chunked, Offloaded)):
        return _take_step(objective, shape, packed, live, second)
    rows, length = shape

    def memory_of(objective: Objective, length: int) -> ChunkMemory | None:
        key = (length, chunk_estimate.settings_of(objective))
        if key not in known:
            found = _take_step(objective, (rows, length), packed, live, second)
            known[key] = _peaks(found) if found else None
        return known[key]

    memory = chunk_estimate.memory(memory_of, objective, length)
    return None if memory is None else {"forward": memory.peak, "carry": memory.carry, "host": memory.host}


def _peaks(found: dict[str, int]) -> ChunkMemory:
    peak = max(found["forward"], found["backward"], found["end"])
    return ChunkMemory(peak, found["carry"], found["host"])


def _take_step(
    objective: Objective, shape: tuple[int, int], packed: bool, live: LiveTensors, second: list[Tensor]
) -> dict[str, int] | None:
    """Take a step on fake tensors, and return what its passes need; None if the model cannot be computed on them.

    Args:
        second: the parameters of the second layer that are trained.
    """
    tokens = torch.zeros(shape, dtype=torch.long)
    batch = Batch(tokens, tokens, tokens if packed else None, getattr(_inner(objective), "pairs", False))
    found = dict.fromkeys(("forward", "backward", "end", "logits", "stored", "carry"), 0)
    missing = {*map(id, second)}

    def note(part: str) -> None:
        found[part] = max(found[part], live.peak)
        live.restart()

    def arrived(parameter: Tensor) -> None:
        missing.discard(id(parameter))
        if not missing:
            note("backward")

    parameters: list[Any] = second
    hooks = [parameter.register_post_accumulate_grad_hook(arrived) for parameter in parameters]
    live.restart()
    live.host_peak = live.host
    try:
        for part in objective.parts(batch):
            if live.peak > found["forward"]:
                found |= {"forward": live.peak, "logits": live.logits_at_peak}
            found["stored"] = max(found["stored"], live.bytes)
            past = carry.current()
            found["carry"] = max(found["carry"], past.device_bytes if past else 0)
            live.restart()
            torch.autograd.backward(part.loss)
            note("end")
    except Exception:  # noqa: BLE001 - the code of any model runs here, and an estimate must not end a run
        return None
    finally:
        for hook in hooks:  # those of an earlier step would take the peaks of this one
            hook.remove()
    return found | {"host": live.host_peak}


def _state_bytes(model: Any, training: TrainingSection, device: torch.device) -> int:
    """Bytes of optimizer state that have to be on the device."""
    inner = inner_matrices(model)
    inside, outside = STATE[training.optimizer]
    if training.optimizer == PAGED and device.type == "cuda":
        inside = 0  # it moves to host memory when the GPU is full
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return sum(parameter.numel() * (inside if parameter in inner else outside) for parameter in trained)


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
