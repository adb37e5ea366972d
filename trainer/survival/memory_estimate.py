"""Estimate of the memory that a run needs, made before its weights are loaded.

The training code itself takes a step on fake tensors, which have shapes but no data (torch's FakeTensorMode), and every
storage is counted from its allocation to its release. So the estimate works for any architecture, window, objective and
precision, with or without gradient checkpointing. Where a model cannot be computed without data, weights, gradients and
optimizer state are counted nevertheless. The fake tensors are on the CPU, where torch chooses kernels that store
the same activations as those of a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from trainer.attention import carry
from trainer.config import TrainingSection
from trainer.data import Batch
from trainer.errors import UserError
from trainer.learning import cross_entropy
from trainer.learning.chunks import Chunked, ChunkSettings
from trainer.learning.objective import Objective
from trainer.learning.offload import Offloaded
from trainer.learning.optimizer import PAGED, inner_matrices
from trainer.models import vocabulary
from trainer.models.fake_model import DataFree, fake_tensors
from trainer.say import Say
from trainer.survival import chunk_estimate
from trainer.survival.chunk_estimate import ChunkMemory

# Bytes of optimizer state per parameter: of matrices inside the model, and of all others.
STATE = {"adamw": (8, 8), "muon": (4, 8), "adamw_8bit": (2, 8), PAGED: (2, 8)}
# Memory that the first step needs besides tensors: oneDNN's code and buffers (measured); CUDA's context and libraries (usual).
OVERHEAD = {"cpu": 40 << 20, "cuda": 512 << 20}
Known = dict[tuple[int, ChunkSettings | None], ChunkMemory | None]
MOST_TOKENS = 1 << 18  # of a step on fake tensors; larger batches are extrapolated


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
    live = _LiveTensors()
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
    live: _LiveTensors,
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
    objective: Objective, shape: tuple[int, int], packed: bool, live: _LiveTensors, second: list[Tensor]
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


@dataclass(frozen=True)
class Preflight:
    """The memory that a run needs, and the memory of its device.

    Attributes:
        estimate: None if it cannot be made at all.
        free: bytes that are free on the device.
        used: bytes that this process uses on it already.
        device: its name.
    """

    estimate: MemoryEstimate | None
    free: int
    used: int
    device: str

    def check(self, say: Say, force: bool) -> None:
        """Report the estimate, and refuse a run that does not fit.

        Args:
            force: do not refuse it.

        Raises:
            UserError: it does not fit.
        """
        if self.estimate is None:
            say("INFO: no memory estimate: the memory of this model cannot be estimated")
            return
        least = "about" if self.estimate.activations is not None else "at least"
        say(f"INFO: memory: a step needs {least} {self.estimate}; {self.device} has {gib(self.free)} free")
        if self.estimate.activations is None:
            say(
                "INFO: memory: the activations cannot be estimated: their sizes in this model depend on its input"
            )
        if self.estimate.total > self.free and not force:
            raise UserError(
                f"A step needs {least} {gib(self.estimate.total)} of memory, but {self.device} has {gib(self.free)} free. "
                f"{self.estimate.advice(self.free)} Use --force to start anyway."
            )

    def to_json(self) -> dict[str, Any]:
        """The `memory` field of the run_start record."""
        need = self.estimate and asdict(self.estimate)
        return {"need": need, "free": self.free, "used": self.used, "device": self.device}


def preflight(
    build: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    shards: int,
) -> Preflight:
    """Compare the estimate for a step with the free memory of a device. The arguments are those of `estimate`."""
    estimated = _estimate_or_none(build, training, device, shape, packed, shards)
    if device.type == "cuda":
        return Preflight(estimated, torch.cuda.mem_get_info(device)[0], 0, str(device))
    used = psutil.Process().memory_info().rss
    return Preflight(estimated, psutil.virtual_memory().available, used, "this machine")


def _estimate_or_none(build: Callable[[], tuple[Any, Objective]], *others: Any) -> MemoryEstimate | None:
    """The estimate; None if the model cannot even be built on fake tensors."""
    try:
        return _bounded_estimate(build, *others)
    except UserError:
        raise
    except Exception:  # noqa: BLE001 - as in `_take_step`; if the model cannot be built, building it says why
        return None


def _bounded_estimate(
    build: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    shards: int,
) -> MemoryEstimate:
    """As `estimate`. Activations of a huge batch are extrapolated from two smaller ones: they grow linearly with its rows.

    A step on fake tensors takes time in proportion to its tokens, because the loss is computed in chunks.
    """
    rows, length = shape
    few = max(1, MOST_TOKENS // length // 2)
    if rows <= 2 * few:
        return estimate(build, training, device, shape, packed, shards)
    small, large = (
        estimate(build, training, device, (count, length), packed, shards) for count in (few, 2 * few)
    )
    if small.activations is None or large.activations is None:
        return large
    each = max(0, large.activations - small.activations) / few
    return replace(large, activations=large.activations + int(each * (rows - 2 * few)))


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


class _LiveTensors(DataFree):
    """Counts the bytes of live tensors, and their peak; and of these the logits, whose last dimension is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vocabulary: int | None = None
        self.bytes = self.peak = 0
        self.host = self.host_peak = 0
        self.logits_at_peak = self._logits = 0
        self._known: set[int] = set()

    def restart(self) -> None:
        """Look for a new peak."""
        self.peak, self.logits_at_peak = self.bytes, self._logits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name not in self._known:
            self._known.add(name)
            if tensor.device.type == "meta":  # stands for the host's memory
                self.host += size
                self.host_peak = max(self.host_peak, self.host)
                weakref.finalize(storage, self._forget_on_host, name, size)
                return
            logits = size if self._are_logits(tensor) else 0
            self.bytes += size
            self._logits += logits
            if self.bytes > self.peak:
                self.peak, self.logits_at_peak = self.bytes, self._logits
            weakref.finalize(storage, self._forget, name, size, logits)

    def _are_logits(self, tensor: Tensor) -> bool:
        width = tensor.shape[-1] if tensor.ndim > 1 else 0
        return self.vocabulary is not None and 0 <= width - self.vocabulary < cross_entropy.ALIGNMENT

    def _forget_on_host(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.host -= size

    def _forget(self, name: int, size: int, logits: int) -> None:
        self._known.discard(name)
        self.bytes -= size
        self._logits -= logits
