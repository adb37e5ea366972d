"""Saves a run, as a whole or in the parts that its processes hold, and records each checkpoint when it is in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.distributed import shard_files
from trainer.learning.state import Progress, Run
from trainer.survival.checkpoint import CheckpointFolder
from trainer.survival.saved_state import SavedState
from trainer.survival.sharded_checkpoint import ShardedCheckpoints


class Saver:
    """Saves a run.

    Args:
        config: the configuration of the run, by section.
        saved: called with each checkpoint that is in place.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress,
        checkpoints: CheckpointFolder,
        config: dict[str, Any],
        saved: Callable[[Path], None],
    ) -> None:
        self._run, self._progress, self._checkpoints = run, progress, checkpoints
        self._config, self._saved = config, saved
        self._in_parts: ShardedCheckpoints | None = None
        adapter = getattr(run.model, "_hf_peft_config_loaded", False)  # small, and saved in peft's format
        if run.shards and not adapter and shard_files.supported():
            self._in_parts = ShardedCheckpoints(checkpoints, run.processes, run.model, run.tokenizer)

    def save(self, wait: bool) -> Path:
        """Save the run. Returns the path of the checkpoint, which is in place, or will be after a `poll`.

        Args:
            wait: until it is in place, even if checkpoints are written in the background.

        Raises:
            RunError: it cannot be written.
        """
        run = self._run
        if self._in_parts is None:
            path = self._checkpoints.save(
                self._state(),
                model=run.model,
                tokenizer=run.tokenizer,
                optimizer=run.optimizer,
                device=run.device,
                processes=run.processes,
            )
            self._saved(path)
            return path
        self._finish()
        background = run.training.async_checkpoints and not wait
        path = self._in_parts.begin(self._state(), run.optimizer, run.device, background)
        if not background:
            self._finish(path)
        return path

    def poll(self) -> None:
        """Put a checkpoint that was written in the background in place, if all its parts are there."""
        if self._in_parts and self._in_parts.begun and self._in_parts.ready():
            self._finish()

    def _finish(self, path: Path | None = None) -> None:
        assert self._in_parts is not None
        if done := self._in_parts.finish() or path:
            self._saved(done)

    def _state(self) -> SavedState:
        run, progress = self._run, self._progress
        return SavedState(
            position=progress.position,
            processes=run.processes.count,
            scaler=run.scaler.state_dict(),
            config=self._config,
            data_set=run.dataset.content,
            memory=progress.memory,
            best=progress.best,
        )
