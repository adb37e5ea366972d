"""Checkpoints that survive a crash at any moment.

`<output_dir>/checkpoints/` holds one folder per checkpoint and `latest`, a text file with the name of the newest. With early
stopping, the text file `best` names the one with the lowest held-out loss, which is kept. A folder contains what transformers
saves (config.json, model.safetensors), the tokenizer, and

* training_state.safetensors: optimizer and random generators, tensors by name
* state.json: `SavedState`
* checksums.json: sha256 of every other file

It is written under a temporary name, flushed, read back, and only then renamed.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from doctor.bounded import read_json, read_text
from doctor.files import flush, flush_folder, move, sha256_of, write_atomically
from trainer.distributed.processes import ALONE, Processes
from trainer.distributed.sharding import gather
from trainer.errors import RunError, UserError
from trainer.learning.early_stop import Best
from trainer.learning.optimizer import load_state_tensors, state_tensors
from trainer.learning.position import Position
from trainer.learning.state import MemorySettings
from trainer.models import lora
from trainer.models.tokenizer import Tokenizer
from trainer.random_state import random_state, restore_random_state
from trainer.say import Say
from trainer.survival.checkpoint_names import CHECKPOINTS, checkpoints_in

LATEST = "latest"
BEST = "best"
SHORT = 100  # bytes of BEST, at most
CHECKSUMS = "checksums.json"
STATE = "state.json"
TENSORS = "training_state.safetensors"
OPTIMIZER = "optimizer."  # prefix of the optimizer's tensors
ONE_FILE = "1000TB"  # larger than any model, so that the weights are not split


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """What state.json holds.

    Attributes:
        processes: number of processes of the run.
        scaler: state of the gradient scaler.
        config: the configuration of the run, by section.
        data_set: `Dataset.content`, to notice a changed data set; None if not saved.
        memory: settings of the last step; None if not saved.
        best: the best evaluation so far; None if not saved.
    """

    position: Position
    processes: int
    scaler: dict[str, Any]
    config: dict[str, Any]
    data_set: dict[str, Any] | None = None
    memory: MemorySettings | None = None
    best: Best | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self.position),
            "processes": self.processes,
            "scaler": self.scaler,
            "config": self.config,
            "data_set": self.data_set,
            "memory": self.memory and asdict(self.memory),
            "best": asdict(self.best) if self.best and self.best.step is not None else None,
        }


def read_state(checkpoint: Path) -> SavedState:
    """Read state.json.

    aios 0.1.0 saved data_set and memory inside the configuration, the latter as "economy".
    """
    state: dict[str, Any] = read_json(checkpoint / STATE)
    config = state["config"]
    memory = state.get("memory")
    if economy := config.pop("economy", None):
        memory = {
            "micro_batch_size": economy["sequences"],
            "gradient_checkpointing": economy["checkpointed"],
        }
    return SavedState(
        position=Position(state["step"], state["samples"]),
        processes=state.get("processes", 1),
        scaler=state["scaler"],
        config=config,
        data_set=config.pop("data_set", state.get("data_set")),
        memory=MemorySettings(**memory) if memory else None,
        best=Best(**state["best"]) if state.get("best") else None,
    )


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
        tensors |= _random_states(device, processes)
        if not processes.first or (target.exists() and not problems_of(target)):
            return target
        partial = self.folder / f"{target.name}.partial"
        try:
            _remove(partial)
            partial.mkdir(parents=True)
            _write_model(partial, model, weights)
            tokenizer.save(partial)
            save_file(tensors, partial / TENSORS)
            _write_json(partial / STATE, state.to_json())
            _seal(partial)
            self._put_in_place(partial, target)
        except (OSError, SafetensorError) as error:
            _remove(partial)  # the disk may have no other free space
            raise RunError(
                f"The checkpoint of step {state.position.step} could not be written to {self.folder.absolute()}: {error}. "
                "Earlier checkpoints are unchanged. Free some disk space, then continue with --resume."
            ) from error
        return target

    def _put_in_place(self, partial: Path, target: Path) -> None:
        if problems := problems_of(partial):
            raise OSError(f"verification failed ({'; '.join(problems)})")
        if target.exists():  # damaged: the run was resumed from an earlier one
            self._set_aside(target)
        move(partial, target)
        write_atomically(self.folder / LATEST, f"{target.name}\n".encode())
        later = {folder for folder in self._all() if folder > target}  # damaged as well
        damaged = (self._damaged | later) - {target}
        intact = [folder for folder in self._all() if folder not in damaged]
        oldest = [folder for folder in intact[: -self._keep_last] if folder != self.best()]
        for folder in (*damaged, *oldest):
            with suppress(OSError):  # on Windows, while a file is open elsewhere; the next save retries
                self._set_aside(folder)
        self._damaged = {folder for folder in damaged if folder.exists()}
        for folder in self.folder.glob("*.partial"):
            _remove(folder)

    def _set_aside(self, folder: Path) -> None:
        """Rename a checkpoint before it is deleted: a half deleted one would look damaged."""
        aside = folder.with_suffix(".old.partial")
        _remove(aside)
        move(folder, aside)

    def newest(self, say: Say) -> Path | None:
        """The newest checkpoint that is intact, with a warning for each damaged one; None if there is none."""
        for folder in reversed(self._all()):
            problems = problems_of(folder)
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
    """Restore everything except the weights; the random state last. A process that has none saved keeps its own."""
    tensors = load_file(checkpoint / TENSORS)
    state = read_state(checkpoint)
    load_state_tensors(
        optimizer,
        {name.removeprefix(OPTIMIZER): t for name, t in tensors.items() if name.startswith(OPTIMIZER)},
    )
    scaler.load_state_dict(state.scaler)
    names = {kind: _random_name(kind, rank) for kind in ("cpu", "cuda")}
    random = {kind: tensors[name].clone() for kind, name in names.items() if name in tensors}
    if random:
        restore_random_state(random, device)
    return state.position


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


def problems_of(checkpoint: Path) -> list[str]:
    """What is wrong with a checkpoint's files; empty if all match their checksums."""
    try:
        sums = read_json(checkpoint / CHECKSUMS)
    except (OSError, ValueError):
        return [f"{CHECKSUMS} is missing or truncated"]
    if not isinstance(sums, dict) or STATE not in sums:
        return [f"{CHECKSUMS} does not list its files"]
    return [
        problem for name, expected in sums.items() if (problem := _problem_of(checkpoint / name, expected))
    ]


def _problem_of(file: Path, expected: str) -> str | None:
    if not file.is_file():
        return f"{file.name} is missing"
    try:
        return None if sha256_of(file) == expected else f"{file.name} has changed since it was written"
    except OSError as error:
        return f"{file.name} cannot be read: {error}"


def _write_model(folder: Path, model: Any, weights: dict[str, Tensor]) -> None:
    model.save_pretrained(folder, state_dict=weights, max_shard_size=ONE_FILE)
    if lora.is_adapter(folder):
        model.config.save_pretrained(folder / lora.BASE)


def _seal(folder: Path) -> None:
    """Write the checksums, then flush all files and folders to the disk."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    _write_json(folder / CHECKSUMS, {file.relative_to(folder).as_posix(): sha256_of(file) for file in files})
    for file in (*files, folder / CHECKSUMS):
        flush(file)
    for parent in {file.parent for file in files}:
        flush_folder(parent)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")


def _random_states(device: torch.device, processes: Processes) -> dict[str, Tensor]:
    """The random states of all processes."""
    return {
        _random_name(kind, rank): state
        for kind, own in random_state(device).items()
        for rank, state in enumerate(processes.all_gather(own))
    }


def _random_name(kind: str, rank: int) -> str:
    return f"random.{kind}" if rank == 0 else f"random.{kind}.{rank}"


def _remove(folder: Path) -> None:
    """Delete a folder. On Windows, files that are open elsewhere remain, and the next save retries."""
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
