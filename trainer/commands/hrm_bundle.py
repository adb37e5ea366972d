"""The bundle: the folder that `train-actv1` writes.

brain.json    description: the configuration, the training steps, the evaluation, and the folder of the run
model/        the model and its tokenizer, for `aios generate --checkpoint` and `aios hrm-hf train-actv1 --model`
runs/001/     checkpoints and records of each run
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path

from doctor.files import move, write_atomically
from doctor.ownership import ForeignFileError, Mark, require_ours
from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.run import Summary
from trainer.survival.checkpoint import TENSORS
from trainer.survival.own_checkpoints import CHECKSUMS, STATE, delete_files, written_files

DESCRIPTION = "brain.json"
MODEL = "model"
SCHEMA_VERSION = 1
OURS = Mark(
    "the description of a bundle", lambda head: b'"schema_version"' in head and b'"evaluation"' in head
)


def write(bundle: Path, checkpoint: Path, config: TrainConfig, summary: Summary) -> None:
    """Copy the model of a checkpoint into a bundle, replacing the one in it.

    Raises:
        RunError: the bundle cannot be written. The checkpoint is not affected.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "name": bundle.name,
        "written_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": MODEL,
        "step": summary.position.step,
        "completed": summary.completed,
        "evaluation": summary.evaluation and summary.evaluation.to_json(),
        "run": str(config.output.output_dir.absolute()),
        "records": str(config.log_file.absolute()),
        "config": config.model_dump(mode="json", by_alias=False),
    }
    new, old = bundle / f"{MODEL}.partial", bundle / f"{MODEL}.old.partial"
    try:
        _require_ours(bundle)
        for leftover in (new, old):
            delete_files(written_files(leftover), leftover)
        shutil.copytree(checkpoint, new, ignore=shutil.ignore_patterns(STATE, TENSORS, CHECKSUMS))
        if (bundle / MODEL).exists():
            move(bundle / MODEL, old)
        move(new, bundle / MODEL)
        write_atomically(
            bundle / DESCRIPTION, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode()
        )
        delete_files(written_files(old), old)
        for note in old.iterdir() if old.is_dir() else ():  # of the user
            if not (bundle / MODEL / note.name).exists():
                move(note, bundle / MODEL / note.name)
        if old.is_dir() and not any(old.iterdir()):
            old.rmdir()
    except OSError as error:
        raise RunError(
            f"The bundle could not be written to {bundle.absolute()}: {error}. The model is in the checkpoint {checkpoint}."
        ) from error


def _require_ours(bundle: Path) -> None:
    """Raise ForeignFileError if the description or the model in `bundle` is not of an earlier run."""
    require_ours(bundle / DESCRIPTION, OURS)
    model = bundle / MODEL
    if model.exists() and not (bundle / DESCRIPTION).exists():
        raise ForeignFileError(
            f"{model.absolute()} exists and was not written by aios. It was left unchanged: rename it, or choose another "
            "--brain-name"
        )
