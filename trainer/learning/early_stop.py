"""The best evaluation of a run, and whether training longer still lowers the held-out loss."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Best:
    """The evaluation with the lowest held-out loss so far.

    Attributes:
        loss: nats per token.
        step: of that evaluation; None before the first one.
        worse: number of evaluations since then.
    """

    loss: float = math.inf
    step: int | None = None
    worse: int = 0

    def after(self, loss: float, step: int) -> Best:
        """The best evaluation after another one."""
        return Best(loss, step) if loss < self.loss else Best(self.loss, self.step, self.worse + 1)
