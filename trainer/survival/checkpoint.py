"""Checkpoints that survive a crash at any moment.

`<output_dir>/checkpoints/` holds one folder a checkpoint and `latest`, a text file that names the newest. A folder
is what transformers saves (config.json, model.safetensors), the tokenizer's description, and beside them

* training_state.safetensors: optimizer and random generators, tensors by name
* state.json: step, data position, gradient scaler, the configuration
* checksums.json: sha256 of every other file

It is written under a temporary name, flushed, read back, and only then moved into its place.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from doctor.files import flush, flush_folder, move, sha256_of, write_atomically
from trainer.distributed.processes import ALONE, Processes
from trainer.distributed.sharding import whole
from trainer.errors import RunError, UserError
from trainer.learning.optimizer import load_state_tensors, state_tensors
from trainer.learning.position import Position
from trainer.models import lora
from trainer.models.tokenizer import Tokenizer
from trainer.random_state import random_state, restore_random_state
from trainer.say import Say

CHECKPOINTS = "checkpoints"
LATEST = "latest"
CHECKSUMS = "checksums.json"
STATE = "state.json"
TENSORS = "training_state.safetensors"
OPTIMIZER = "optimizer."  # names of its tensors there begin with it
ONE_FILE = "1000TB"  # weights are not split


class CheckpointFolder:
    """The checkpoints of one run, newest last."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        self._damaged: set[Path] = set()  # as far as they were looked at

    def save(
        self,
        position: Position,
        model: Any,
        tokenizer: Tokenizer,
        optimizer: Optimizer,
        scaler: torch.amp.GradScaler,
        device: torch.device,
        config: dict[str, Any],
        processes: Processes = ALONE,
    ) -> Path:
        """Write a checkpoint, point to it, and then let the oldest go. All processes take part; the first one writes.

        Raises:
            RunError: it cannot be written; those before it are as they were.
        """
        target = self.folder / f"step-{position.step:08d}"
        partial = self.folder / f"{target.name}.partial"
        state = {
            "step": position.step,
            "samples": position.samples,
            "processes": processes.count,
            "scaler": scaler.state_dict(),
            "config": config,
        }
        weights = whole(lora.learned_state(model), processes.first)
        kept = {
            OPTIMIZER + name: tensor for name, tensor in state_tensors(optimizer, processes.first).items()
        }
        kept |= _random_states(device, processes)
        if not processes.first or (target.exists() and not problems_of(target)):
            return target
        try:
            _remove(partial)
            partial.mkdir(parents=True)
            model.save_pretrained(partial, state_dict=weights, max_shard_size=ONE_FILE)
            if lora.is_adapter(partial):
                model.config.save_pretrained(partial / lora.BASE)
            tokenizer.save(partial)
            save_file(kept, partial / TENSORS)
            _write_json(partial / STATE, state)
            files = sorted(file for file in partial.rglob("*") if file.is_file())
            sums = {file.relative_to(partial).as_posix(): sha256_of(file) for file in files}
            _write_json(partial / CHECKSUMS, sums)
            for file in (*files, partial / CHECKSUMS):
                flush(file)
            for folder in {file.parent for file in files}:
                flush_folder(folder)
            self._put_in_place(partial, target)
        except (OSError, SafetensorError) as error:
            _remove(partial)  # its room may be all there is
            raise RunError(
                f"The checkpoint of step {position.step} could not be written to {self.folder.absolute()}: {error}. "
                "Those before it are as they were: make room, then go on with --resume."
            ) from error
        return target

    def _put_in_place(self, partial: Path, target: Path) -> None:
        if problems := problems_of(partial):
            raise OSError(f"it reads back wrong ({'; '.join(problems)})")
        if target.exists():  # damaged: the run went on from before it
            self._set_aside(target)
        move(partial, target)
        write_atomically(self.folder / LATEST, f"{target.name}\n".encode())
        later = {folder for folder in self._all() if folder > target}  # damaged, too
        damaged = (self._damaged | later) - {target}
        whole = [folder for folder in self._all() if folder not in damaged]
        for folder in (*damaged, *whole[: -self._keep]):
            with suppress(OSError):  # open elsewhere, on Windows: the next save tries again
                self._set_aside(folder)
        self._damaged = {folder for folder in damaged if folder.exists()}
        for folder in self.folder.glob("*.partial"):
            _remove(folder)

    def _set_aside(self, folder: Path) -> None:
        """Take a checkpoint out of the row at once: one that is half deleted would look damaged."""
        aside = folder.with_suffix(".old.partial")
        _remove(aside)
        move(folder, aside)

    def newest(self, say: Say) -> Path | None:
        """The newest checkpoint that is whole; each damaged one before it is said. None where there is none."""
        for folder in reversed(self._all()):
            problems = problems_of(folder)
            if not problems:
                return folder
            self._damaged.add(folder)
            say(
                f"WARNING: {folder} is damaged ({'; '.join(problems)}); looking for the checkpoint before it."
            )
        return None

    def exists(self) -> bool:
        return bool(self._all())

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))


def restore(
    checkpoint: Path,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
    rank: int = 0,
) -> Position:
    """Put back everything but the weights, random generators last of all; a process that had none there keeps its own."""
    tensors = load_file(checkpoint / TENSORS)
    state = read_state(checkpoint)
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith(OPTIMIZER)}
    load_state_tensors(optimizer, {name.removeprefix(OPTIMIZER): tensor for name, tensor in kept.items()})
    scaler.load_state_dict(state["scaler"])
    names = {kind: _random_name(kind, rank) for kind in ("cpu", "cuda")}
    random = {kind: tensors[name] for kind, name in names.items() if name in tensors}
    if random:
        restore_random_state(random, device)
    return Position(state["step"], state["samples"])


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What state.json says: step, samples, processes, scaler, config."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def find(path: Path, say: Say) -> Path:
    """The checkpoint that a person means: a checkpoint or model folder, or the output folder of a run.

    Raises:
        UserError: there is none, or none that is whole.
    """
    if (path / "config.json").exists() or lora.is_adapter(path):
        problems = problems_of(path) if (path / CHECKSUMS).exists() else []
        if problems:
            raise UserError(f"The checkpoint {path.absolute()} is damaged: {'; '.join(problems)}.")
        return path
    folder = path / CHECKPOINTS if (path / CHECKPOINTS).is_dir() else path
    checkpoints = CheckpointFolder(folder, keep=1)
    found = checkpoints.newest(say)
    if found is None:
        state = "every one is damaged" if checkpoints.exists() else "there is none"
        raise UserError(
            f"No checkpoint in {path.absolute()}: {state}. Name the output folder of a training run, one of its "
            f"checkpoints, or a model folder with a config.json."
        )
    return found


def problems_of(checkpoint: Path) -> list[str]:
    """What is wrong with a checkpoint's files; empty where each is as it was written."""
    try:
        sums = json.loads((checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{CHECKSUMS} is missing or cut short"]
    if not isinstance(sums, dict) or STATE not in sums:
        return [f"{CHECKSUMS} does not name its files"]
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")


def _random_states(device: torch.device, processes: Processes) -> dict[str, Tensor]:
    """The random generators of every process."""
    return {
        _random_name(kind, rank): state
        for kind, own in random_state(device).items()
        for rank, state in enumerate(processes.each(own))
    }


def _random_name(kind: str, rank: int) -> str:
    return f"random.{kind}" if rank == 0 else f"random.{kind}.{rank}"


def _remove(folder: Path) -> None:
    """Delete a folder. On Windows a file that is open elsewhere stays, and the next save tries again."""
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
