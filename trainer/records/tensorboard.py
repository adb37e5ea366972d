"""Writes TensorBoard event files. No other module imports tensorboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from doctor.extras import how_to_add
from trainer.errors import UserError
from trainer.records.reading import Record, moment
from trainer.say import Say

FOLDER = "tensorboard"
FLUSH_SECONDS = 10
DRAWN = ("train", "eval")


class EventFiles:
    """Writes the figures of train and eval records, one folder per run.

    Args:
        folder: parent of the runs' folders. A resumed run continues in the newest.
        say: called if event files can no longer be written; the run and its log continue without them.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"output.tensorboard needs the package tensorboard, which cannot be imported ({error}). Leave the key out "
                f"(--no-tensorboard), or install it:\n  {how_to_add('tensorboard')}"
            ) from error
        self._make: Any = SummaryWriter
        self._folder = folder
        self._say = say
        self._writer: Any = None

    def record(self, record: Record) -> None:
        """Add the next record of the run."""
        try:
            if record["event"] == "run_start":
                self._writer = self._open(record)
            elif self._writer and record["event"] in DRAWN:
                self._draw(record)
            elif self._writer:
                self._writer.flush()
        except OSError as error:
            self._say(f"WARNING: TensorBoard event files can no longer be written: {error}")
            self._writer = None

    def _open(self, record: Record) -> Any:
        before, step = sorted(self._folder.glob("*Z")), record["resumed_from"]
        resumes = step is not None and before
        folder = before[-1] if resumes else self._folder / record["ts"].replace(":", "-")
        purged = {"purge_step": step + 1} if resumes else {}  # those steps are repeated
        writer = self._make(str(folder), flush_secs=FLUSH_SECONDS, **purged)
        writer.add_text("config", f"```\n{json.dumps(record['config'], indent=2)}\n```", record["step"])
        return writer

    def _draw(self, record: Record) -> None:
        written = moment(record)
        for key, value in record.items():
            if isinstance(value, (int, float)) and key not in ("schema_version", "step"):
                tag = f"{record['event']}/{key}"
                self._writer.add_scalar(tag, value, record["step"], written and written.timestamp())
