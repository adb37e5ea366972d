"""A brain: the folder that `train-actv1` leaves behind.

brain.json    what it is, how far it was trained, how well it predicts held-out text, and where its runs are
model/        the model and its tokenizer, for `aios generate --checkpoint` and `aios hrm-hf train-actv1 --model`
runs/001/     checkpoints and records of each run
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from doctor.files import move, write_atomically
from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.run import Summary
from trainer.survival.checkpoint import CHECKSUMS, STATE, TENSORS

BRAIN = "brain.json"
MODEL = "model"
SCHEMA_VERSION = 1


def write(brain: Path, checkpoint: Path, config: TrainConfig, summary: Summary) -> None:
    """Put the model of a checkpoint into a brain, in place of the one that may be there.

    Raises:
        RunError: it cannot be written. The checkpoint stays.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "name": brain.name,
        "written_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": MODEL,
        "step": summary.position.step,
        "completed": summary.completed,
        "evaluation": summary.evaluation and asdict(summary.evaluation),
        "run": str(config.output.output_dir.absolute()),
        "records": str(config.log_file.absolute()),
        "config": config.model_dump(mode="json", by_alias=False),
    }
    new, old = brain / f"{MODEL}.partial", brain / f"{MODEL}.old.partial"
    try:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(checkpoint, new, ignore=shutil.ignore_patterns(STATE, TENSORS, CHECKSUMS))
        if (brain / MODEL).exists():
            move(brain / MODEL, old)
        move(new, brain / MODEL)
        write_atomically(brain / BRAIN, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise RunError(
            f"The brain could not be written to {brain.absolute()}: {error}. Its model is in the checkpoint {checkpoint}."
        ) from error
