"""Load models in parts in one of several processes, take a step, save a checkpoint in parts and restore it.

    python parts_at_work.py FOLDER

FOLDER has a model folder for each kind. For each, the first process writes FOLDER/<kind>.pt with the gathered weights and
optimizer state, or with the reason why it could not be loaded in parts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from trainer.config import TrainConfig, TrainingSection
from trainer.distributed.processes import Processes, process_group
from trainer.distributed.sharding import gather
from trainer.learning.optimizer import make_optimizer, state_tensors
from trainer.learning.position import Position
from trainer.learning.sharded_objective import Shards
from trainer.models import row_shards, sharded_model
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival.checkpoint import CheckpointFolder, restore
from trainer.survival.saved_state import SavedState
from trainer.survival.sharded_checkpoint import ShardedCheckpoints

CPU = torch.device("cpu")
SCALER = torch.amp.GradScaler("cpu", enabled=False)
row_shards.SMALL = 1


def load(folder: Path, processes: Processes) -> tuple[Shards, Any]:
    config = AutoConfig.from_pretrained(folder)
    built = sharded_model.build(config, folder, 0, processes.rank, processes.count)
    shards = Shards(built.network, CPU, processes.count, prepare=built.rows.restore)
    built.load()
    return shards, make_optimizer(shards.model, TrainingSection())


def gathered(shards: Shards, optimizer: Any, processes: Processes) -> dict[str, Any]:
    return {
        "weights": gather(shards.model.state_dict(keep_vars=True), processes.first),
        "optimizer": state_tensors(optimizer, processes.first),
    }


def work(folder: Path, kind: str, processes: Processes) -> dict[str, Any]:
    try:
        shards, optimizer = load(folder / kind, processes)
    except sharded_model.NotInPartsError as reason:
        return {"reason": str(reason)}
    loaded = gathered(shards, optimizer, processes)
    tokens = torch.arange(8)[None]
    shards.forward_of(lambda: shards.model(input_ids=tokens, labels=tokens).loss).backward()
    optimizer.step()
    stepped = gathered(shards, optimizer, processes)
    checkpoints = CheckpointFolder(folder / f"{kind} checkpoints", 3)
    parts = ShardedCheckpoints(checkpoints, processes, shards.model, ByteTokenizer())
    config = TrainConfig().model_dump(mode="json", by_alias=False)
    state = SavedState(position=Position(1, 2), processes=processes.count, scaler={}, config=config)
    for step in (1, 2):
        path = parts.begin(state, optimizer, CPU, background=step == 2)
        parts.finish()
    shards, optimizer = load(path, processes)
    restore(path, optimizer, SCALER, CPU, processes.rank)
    return {"loaded": loaded, "stepped": stepped, "restored": gathered(shards, optimizer, processes)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    with process_group() as group:
        for kind in sorted(path.name for path in where.iterdir() if (path / "config.json").exists()):
            found = work(where, kind, group)
            if group.first:
                torch.save(found, where / f"{kind}.pt")
