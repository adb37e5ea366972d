"""Checkpoints that survive a crash at any moment.

`<output_dir>/checkpoints/` holds one folder per checkpoint and `latest`, a text file with the name of the newest. With early
stopping, the text file `best` names the one with the lowest held-out loss, which is kept. A folder contains what transformers
saves (config.json, model.safetensors), the tokenizer, and

* training_state.safetensors: optimizer and random generators, tensors by name
* shards/: of a run whose processes share the model, its weights and the optimizer's state, instead of in the files above:
  safetensors as torch.distributed.checkpoint writes them, each with the part of one process
* state.json: `SavedState`
* checksums.json: sha256 of every other file

It is written under a temporary name, flushed, read back, and only then renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from doctor.bounded import read_text
from doctor.files import move, write_atomically
from trainer.distributed import shard_files
from trainer.distributed.processes import ALONE, Processes
from trainer.distributed.shard_files import OPTIMIZER
from trainer.distributed.sharding import gather
from trainer.errors import RunError, UserError
from trainer.learning.optimizer import (
    empty_entry,
    is_sharded,
    load_state_tensors,
    set_entries,
    state_tensors,
)
from trainer.learning.position import Position
from trainer.models import lora
from trainer.models.tokenizer import Tokenizer
from trainer.random_state import random_state, restore_random_state
from trainer.say import Say
from trainer.survival.checkpoint_names import CHECKPOINTS, checkpoints_in
from trainer.survival.checksums import problems_of, seal, shared_problems, write_json
from trainer.survival.own_checkpoints import (
    BEST,
    CHECKSUMS,
    LATEST,
    PARTIAL,
    STATE,
    delete,
    others_in,
    partial_of,
)
from trainer.survival.saved_state import SavedState, read_state

SHORT = 100  # bytes of BEST, at most
TENSORS = "training_state.safetensors"
NOTHING: Mapping[str, str] = {}
ONE_FILE = "1000TB"  # larger than any model, so that the weights are not split


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        keep_last: how many of the newest to keep.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder = folder
        self._keep_last = keep_last
        self._damaged: set[Path] = set()  # those found so far

    def save(
        self,
        state: SavedState,
        *,
        model: Any,
        tokenizer: Tokenizer,
        optimizer: Optimizer,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> Path:
        """Write a checkpoint, update `latest`, then delete the oldest. All processes take part; the first one writes.

        Raises:
            RunError: it cannot be written. The earlier checkpoints are unchanged.
        """
        target = self.folder / f"step-{state.position.step:08d}"
        weights = gather(lora.trained_state(model), processes.first)
        tensors = {
            OPTIMIZER + name: tensor for name, tensor in state_tensors(optimizer, processes.first).items()
        }
        tensors |= random_states(device, processes)
        if not processes.first or (target.exists() and not problems_of(target)):
            return target
        partial = partial_of(target)
        try:
            partial.mkdir(parents=True)
            _write_model(partial, model, weights)
            self.complete(partial, target, state, tokenizer, tensors)
        except (OSError, SafetensorError) as error:
            delete(partial)  # the disk may have no other free space
            raise self.unwritable(state, str(error)) from error
        return target

    def complete(
        self,
        partial: Path,
        target: Path,
        state: SavedState,
        tokenizer: Tokenizer,
        tensors: dict[str, Tensor],
        written: Mapping[str, str] = NOTHING,
    ) -> None:
        """Add the rest to a folder that has the model, verify it, and rename it.

        Args:
            tensors: for training_state.safetensors.
            written: the checksums of files, by name, that their writers have flushed and read back.

        Raises:
            OSError, SafetensorError: it cannot be written.
        """
        tokenizer.save(partial)
        save_file(tensors, partial / TENSORS)
        write_json(partial / STATE, state.to_json())
        seal(partial, written)
        self._put_in_place(partial, target, written)

    def unwritable(self, state: SavedState, error: str) -> RunError:
        return RunError(
            f"The checkpoint of step {state.position.step} could not be written to {self.folder.absolute()}: {error}. "
            "Earlier checkpoints are unchanged. Free some disk space, then continue with --resume."
        )

    def _put_in_place(self, partial: Path, target: Path, written: Mapping[str, str]) -> None:
        if problems := problems_of(partial, but=written):
            raise OSError(f"verification failed ({'; '.join(problems)})")
        if target.is_symlink():
            raise OSError(f"{target} is a link")
        if target.exists():  # damaged: the run was resumed from an earlier one
            self._remove(target)
        if target.exists():
            _merge(partial, target)
        else:
            move(partial, target)
        write_atomically(self.folder / LATEST, f"{target.name}\n".encode())
        later = {folder for folder in self._all() if folder > target}  # damaged as well
        damaged = (self._damaged | later) - {target}
        intact = [folder for folder in self._all() if folder not in damaged]
        oldest = [folder for folder in intact[: -self._keep_last] if folder != self.best()]
        for folder in (*damaged, *oldest):
            with suppress(OSError):  # on Windows, while a file is open elsewhere; the next save retries
                self._remove(folder)
        self._damaged = {folder for folder in damaged if folder in self._all()}
        for folder in self.folder.glob("*.partial"):
            if PARTIAL.fullmatch(folder.name):
                delete(folder)

    def _remove(self, folder: Path) -> None:
        """Delete a checkpoint. It is renamed first, because a half deleted one looks damaged, unless it has files of the user."""
        aside = folder.with_suffix(".old.partial")
        delete(aside)
        if aside.exists() or folder.is_symlink() or others_in(folder):
            delete(folder)
        else:
            move(folder, aside)

    def newest(self, say: Say, processes: Processes = ALONE) -> Path | None:
        """The newest checkpoint that is intact, with a warning for each damaged one; None if there is none.

        Several processes share the work of reading the files.
        """
        names = processes.all_texts("\n".join(folder.name for folder in self._all()))[0].split("\n")
        for folder in (self.folder / name for name in reversed(names) if name):
            problems = shared_problems(folder, processes)
            if not problems:
                return folder
            self._damaged.add(folder)
            say(f"WARNING: {folder} is damaged ({'; '.join(problems)}); trying the previous checkpoint.")
        return None

    def best(self) -> Path | None:
        """The checkpoint that `keep_best` has named; None if there is none."""
        try:
            folder = self.folder / read_text(self.folder / BEST, SHORT).strip()
        except (OSError, UnicodeDecodeError):
            return None
        return folder if folder in self._all() else None

    def keep_best(self, checkpoint: Path) -> None:
        """Keep a checkpoint until there is a better one."""
        try:
            write_atomically(self.folder / BEST, f"{checkpoint.name}\n".encode())
        except OSError as error:
            raise RunError(f"{(self.folder / BEST).absolute()} cannot be written: {error}.") from error

    def exists(self) -> bool:
        """Whether there is any checkpoint, intact or damaged."""
        return bool(self._all())

    def _all(self) -> list[Path]:
        """All checkpoints, the oldest first."""
        return checkpoints_in(self.folder)


def restore(
    checkpoint: Path,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
    rank: int = 0,
) -> Position:
    """Restore everything except the weights; the random state last. A process that has none saved keeps its own.

    Of sharded state, each process reads what it holds, whatever the number of processes that wrote it.
    """
    state = read_state(checkpoint)
    shards = shard_files.files_in(checkpoint / shard_files.FOLDER)
    if shards and not shard_files.supported():
        raise UserError(
            f"{checkpoint.absolute()} was written by several processes, each its part. To read it, torch {torch.__version__} is too "
            "old: 2.9 or newer is needed. Run `aios install torch`."
        )
    if shards or (is_sharded(optimizer) and shard_files.supported()):
        _restore_shards([[checkpoint / TENSORS], shards], optimizer)
    else:
        found = load_file(checkpoint / TENSORS)
        load_state_tensors(
            optimizer,
            {name.removeprefix(OPTIMIZER): t for name, t in found.items() if name.startswith(OPTIMIZER)},
        )
    scaler.load_state_dict(state.scaler)
    names = {kind: _random_name(kind, rank) for kind in ("cpu", "cuda")}
    with safe_open(checkpoint / TENSORS, framework="pt") as tensors:
        there = {*tensors.keys()}
        random = {kind: tensors.get_tensor(name).clone() for kind, name in names.items() if name in there}
    if random:
        restore_random_state(random, device)
    return state.position


def _restore_shards(sources: Iterable[list[Path]], optimizer: Optimizer) -> None:
    """Read the optimizer's state, of which each process reads what it holds."""
    entries: dict[str, Tensor] = {}
    for files in filter(None, sources):
        found = {
            name: empty_entry(optimizer, name.removeprefix(OPTIMIZER), entry.shape, entry.dtype)
            for name, entry in shard_files.describe(files).items()
            if name.startswith(OPTIMIZER)
        }
        shard_files.load(files, found)
        entries |= {name.removeprefix(OPTIMIZER): tensor for name, tensor in found.items()}
    set_entries(optimizer, entries)


def find(path: Path, say: Say) -> Path:
    """Return the checkpoint at a path: a checkpoint or model folder, or the output folder of a run.

    Of a run with early stopping, it is the best checkpoint, otherwise the newest.

    Raises:
        UserError: there is no checkpoint, or none that is intact.
    """
    if (path / "config.json").exists() or lora.is_adapter(path):
        problems = problems_of(path) if (path / CHECKSUMS).exists() else []
        if problems:
            raise UserError(f"The checkpoint {path.absolute()} is damaged: {'; '.join(problems)}.")
        return path
    folder = path / CHECKPOINTS if (path / CHECKPOINTS).is_dir() else path
    checkpoints = CheckpointFolder(folder, keep_last=1)
    best = checkpoints.best()
    if best and not problems_of(best):
        say(f"INFO: using {best}, the checkpoint with the lowest held-out loss.")
        return best
    checkpoint = checkpoints.newest(say)
    if checkpoint is None:
        found = "All checkpoints are damaged in" if checkpoints.exists() else "There is no checkpoint in"
        raise UserError(
            f"{found} {path.absolute()}. Name the output folder of a training run, one of its checkpoints, or a model "
            "folder with a config.json."
        )
    return checkpoint


def _write_model(folder: Path, model: Any, weights: dict[str, Tensor]) -> None:
    model.save_pretrained(folder, state_dict=weights, max_shard_size=ONE_FILE)
    if lora.is_adapter(folder):
        model.config.save_pretrained(folder / lora.BASE)


def random_states(device: torch.device, processes: Processes) -> dict[str, Tensor]:
    """The random states of all processes."""
    return {
        _random_name(kind, rank): state
        for kind, own in random_state(device).items()
        for rank, state in enumerate(processes.all_gather(own))
    }


def _random_name(kind: str, rank: int) -> str:
    return f"random.{kind}" if rank == 0 else f"random.{kind}.{rank}"


def _merge(partial: Path, target: Path) -> None:
    """Move a checkpoint into a folder with files of the user. Raises OSError if one has the name of a file to move."""
    names = sorted((path.name for path in partial.iterdir()), key=lambda name: name == CHECKSUMS)
    if not target.is_dir() or any((target / name).exists() for name in names):
        raise OSError(f"{target} exists, and was not written by aios: rename it")
    for name in names:
        move(partial / name, target / name)
    partial.rmdir()
