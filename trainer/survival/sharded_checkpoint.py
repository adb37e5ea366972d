"""Checkpoints of a run whose processes share the model: each writes its part, and none gathers the whole.

The first process prepares the folder, writes what is small, and puts the whole in place when all others have written their
part, flushed it, and read it back for its checksum. With `background`, the parts are copied to the host's memory and written
by a thread, while training continues.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from doctor.files import sha256_of
from trainer.distributed import shard_files
from trainer.distributed.processes import Processes
from trainer.distributed.shard_files import OPTIMIZER
from trainer.learning.optimizer import state_entries
from trainer.models.tokenizer import Tokenizer
from trainer.survival.checkpoint import CheckpointFolder, random_states
from trainer.survival.checksums import problems_of
from trainer.survival.own_checkpoints import delete, partial_of
from trainer.survival.saved_state import SavedState

Sums = dict[str, str]  # of the files that a process has written, by name
PARTS_FAILED = (OSError, RuntimeError, SafetensorError, CheckpointException)


@dataclass(frozen=True)
class Begun:
    """A checkpoint whose parts are being written.

    Attributes:
        small: what the first process writes.
        sums: of the parts of this process, when they have been written.
    """

    target: Path
    partial: Path
    state: SavedState
    small: dict[str, Tensor]
    sums: Future[Sums]


class ShardedCheckpoints:
    """Writes checkpoints in parts. All processes call all methods, in the same order."""

    def __init__(
        self, folder: CheckpointFolder, processes: Processes, model: Any, tokenizer: Tokenizer
    ) -> None:
        self._folder, self._processes = folder, processes
        self._model, self._tokenizer = model, tokenizer
        self._begun: Begun | None = None
        self._group: Any = None
        self._thread = ThreadPoolExecutor(1)

    def begin(self, state: SavedState, optimizer: Optimizer, device: torch.device, background: bool) -> Path:
        """Begin a checkpoint, after finishing the one before. Returns the path that it will have.

        Raises:
            RunError: it cannot be written.
        """
        self.finish()
        target = self._folder.folder / f"step-{state.position.step:08d}"
        parts, small = _parts(self._model, optimizer)
        small |= random_states(device, self._processes)
        exists = self._processes.any(self._processes.first and target.exists() and not problems_of(target))
        if exists:
            return target
        own = partial_of(target).name if self._processes.first else ""
        partial = target.with_name(self._processes.all_texts(own)[0])
        self._together(state, partial, lambda: _make_empty(partial / shard_files.FOLDER, self._processes))
        folder = partial / shard_files.FOLDER
        if background:
            self._group = self._group or dist.new_group(backend="gloo")
            sums = self._thread.submit(self._write, folder, shard_files.copied(parts), self._group)
        else:
            sums = Future()
            try:
                sums.set_result(self._write(folder, parts))
            except PARTS_FAILED as error:
                sums.set_exception(error)
        self._begun = Begun(target, partial, state, small, sums)
        return target

    @property
    def begun(self) -> bool:
        """Whether a checkpoint was begun and is not finished."""
        return self._begun is not None

    def ready(self) -> bool:
        """Whether all processes have written their parts of the checkpoint that was begun."""
        begun = self._begun
        return begun is not None and not self._processes.any(not begun.sums.done())

    def finish(self) -> Path | None:
        """Put the checkpoint that was begun in place, when all parts are there; None if there is none.

        Raises:
            RunError: it could not be written.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            return None
        own: Sums = {}

        def wait() -> None:
            own.update(begun.sums.result())

        self._together(begun.state, begun.partial, wait)
        listed = self._processes.all_texts("\n".join(f"{sum} {name}" for name, sum in own.items()))
        lines = [line for text in listed for line in text.split("\n") if line]
        written = {name: digest for digest, name in (line.split(" ", 1) for line in lines)}

        def complete() -> None:
            if self._processes.first:
                write_configuration(self._model, begun.partial)
                self._folder.complete(
                    begun.partial, begun.target, begun.state, self._tokenizer, begun.small, written
                )

        self._together(begun.state, begun.partial, complete)
        return begun.target

    def _write(self, folder: Path, parts: dict[str, Tensor], group: Any = None) -> Sums:
        """Write the parts of this process; return the checksums of its files."""
        shard_files.save(folder, parts, group)
        own = f"shard-{self._processes.rank + 1:05d}-"
        files = [file for file in shard_files.files_in(folder) if file.name.startswith(own)]
        return {f"{folder.name}/{file.name}": sha256_of(file) for file in files}

    def _together(self, state: SavedState, partial: Path, work: Callable[[], None]) -> None:
        """Do something in all processes, and raise in all of them what fails in one."""
        problem = ""
        try:
            work()
        except PARTS_FAILED as error:
            problem = f"{self._processes.name}: {_first_cause(error)}"
        failed = [text for text in self._processes.all_texts(problem) if text]
        if failed:
            if self._processes.first:
                delete(partial)  # the disk may have no other free space
            raise self._folder.unwritable(state, failed[0])


def write_configuration(model: Any, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write what `save_pretrained` writes beside the weights."""
    config = deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = str(dtype).removeprefix("torch.")
    config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)


def _parts(model: Any, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that all processes write, and those that only the first one writes. A tensor with two names has one."""
    state = {
        id(tensor): (name, tensor) for name, tensor in reversed(model.state_dict(keep_vars=True).items())
    }
    parts = {name: tensor.detach() for name, tensor in reversed(state.values())}
    entries = {OPTIMIZER + name: tensor for name, tensor in state_entries(optimizer).items()}
    parts |= {name: tensor for name, tensor in entries.items() if isinstance(tensor, DTensor)}
    small = {name: tensor.cpu() for name, tensor in entries.items() if name not in parts}
    return parts, {name: tensor.clone() for name, tensor in small.items()}


def _make_empty(folder: Path, processes: Processes) -> None:
    if processes.first:
        folder.mkdir(parents=True)


def _first_cause(error: BaseException) -> str:
    """The message of the error that a failure of torch.distributed.checkpoint wraps."""
    failures = getattr(error, "failures", None)
    if failures:
        cause, _ = next(iter(failures.values()))
        return str(cause)
    return str(error)
