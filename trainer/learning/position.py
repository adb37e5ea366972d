"""How far a run has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """Optimizer steps taken and samples read."""

    step: int = 0
    samples: int = 0
