"""When a run has diverged, and which checkpoint is the last good one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.errors import RunError

NONFINITE_LIMIT = 20  # steps in a row; a gradient scaler may need several to find its scale
ADVICE = "A lower learning rate (--learning-rate) or a longer warm-up (--warmup-steps) usually helps."


class NotFiniteError(RunError):
    """Training has diverged: the loss or its gradient was not finite for too many steps, or the held-out loss once."""


@dataclass
class Checkpoints:
    """The newest checkpoint of the run, and the newest good one.

    A checkpoint is good if its weights gave a finite loss: in the next step that changed them, or in an evaluation.

    Attributes:
        newest: the newest one.
        good: the newest one that is known to be good.
    """

    newest: Path | None = None
    good: Path | None = None
    _has_these_weights: bool = False  # whether the newest checkpoint has the current weights
    _evaluated: bool = False  # whether the current weights gave a finite held-out loss

    def saved(self, path: Path) -> None:
        self.newest, self._has_these_weights = path, True
        if self._evaluated:
            self.good = path

    def step_was_finite(self) -> None:
        """The weights before this step gave a finite loss, and the step has changed them."""
        if self._has_these_weights:
            self.good = self.newest
        self._has_these_weights = self._evaluated = False

    def evaluation_was_finite(self) -> None:
        self._evaluated = True
        if self._has_these_weights:
            self.good = self.newest

    def advice(self) -> str:
        """What to do after a divergence: sentences that name the last good checkpoint."""
        if self.good is None or not self.good.is_dir():
            return f"No checkpoint with a finite loss exists. {ADVICE}"
        later = self.newest != self.good
        remove = " Delete the later ones before --resume: their loss is not finite." if later else ""
        return f"The last good checkpoint is {self.good.absolute()}.{remove} {ADVICE}"
