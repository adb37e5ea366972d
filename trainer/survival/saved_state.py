"""The state of a run in a checkpoint, apart from its tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from doctor.bounded import read_json
from trainer.learning.early_stop import Best
from trainer.learning.position import Position
from trainer.learning.state import MemorySettings
from trainer.survival.own_checkpoints import STATE


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
