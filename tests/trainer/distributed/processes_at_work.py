"""Train small models in one of several processes, as torchrun would start it, and print the result of each case.

    python processes_at_work.py CASES.json FOLDER

A case is a name and its changes to the settings. The gathered weights are written to FOLDER/<name>.pt by the first process.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainer import data
from trainer.attention import huggingface
from trainer.config import TrainingSection
from trainer.data import tokens
from trainer.data.documents import Piece
from trainer.data.stream import make
from trainer.device import Precision
from trainer.distributed.processes import Processes, process_group
from trainer.distributed.sharding import gather
from trainer.learning import loop
from trainer.learning.chunks import Chunked, ChunkSettings
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.evaluation import evaluate_on
from trainer.learning.objective import NextToken, Objective, Part
from trainer.learning.optimizer import make_optimizer
from trainer.learning.position import Position
from trainer.learning.sharded_objective import ShardedObjective, Shards
from trainer.learning.state import Progress, Run
from trainer.learning.step import optimizer_step
from trainer.models.model import checkpoint_activations
from trainer.models.tokenizer import ByteTokenizer

CPU = torch.device("cpu")
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {
        "n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
    "llama": {
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
        "intermediate_size": 64, "max_position_embeddings": 64,
    },
    "hrm_act_v1": {
        "hidden_size": 32, "num_attention_heads": 2, "h_layers": 1, "l_layers": 1, "halt_max_steps": 3,
        "halt_exploration_prob": 0.0,
    },
}  # fmt: skip
LINES = [f"{number} bottles of beer on the wall\n" * (number % 5 + 1) for number in range(120)]
TEXT = "<|endoftext|>\n".join(LINES).encode()


def stream_of(kind: str) -> data.Stream:
    """The text in rows of 32 tokens, or conversations packed whole, of which only the answers are learned."""
    tokenizer = ByteTokenizer()
    if kind == "text":
        return data.stream_of(TEXT, tokenizer, 32)
    pieces = [Piece(line.encode(), True, "", ((len(line) // 2, len(line)),)) for line in LINES]
    source = tokens.of_text(pieces, tokenizer)
    source.tally.shapes["messages"] = len(pieces)
    return make(source, 0, len(source.tokens), len(TEXT), 32, tokenizer.pad_id, packing=True)


class Troubled:
    """An objective that fails once, in its second batch."""

    def __init__(self, objective: Objective, trouble: str) -> None:
        self.score = objective.score
        self._objective, self._trouble, self._batches = objective, trouble, 0

    def parts(self, batch: data.Batch) -> Iterator[Part]:
        self._batches += 1
        for part in self._objective.parts(batch):
            if self._batches == 2 and self._trouble == "out of memory":
                raise torch.OutOfMemoryError("CUDA out of memory")
            if self._batches == 2 and self._trouble == "not a number":
                part = Part(part.loss * math.nan)
            yield part


def train(
    processes: Processes,
    *,
    kind: str = "gpt2",
    sharding: str = "none",
    batch_size: int = 2,
    accumulation: int = 1,
    checkpointing: bool = False,
    trouble: str = "",
    steps: int = 3,
    window: int | None = None,
    chunks: dict[str, Any] | None = None,
    samples: str = "text",
) -> tuple[list[list[float]], dict[str, torch.Tensor]]:
    """Return loss, gradient norm and valid tokens of each step, then the held-out loss; and the first process's weights."""
    special = {"vocab_size": 258, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 257}
    config = AutoConfig.for_model(kind, **special, **SMALL[kind])
    huggingface.attach(config, backend="sdpa", window=window)
    torch.manual_seed(0)
    network: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if checkpointing:
        checkpoint_activations(network)
    learning = DeepSupervision if kind == "hrm_act_v1" else NextToken
    plain: Any = learning(network, Precision(torch.float32))
    objective: Objective = Chunked(plain, ChunkSettings(**chunks)) if chunks else plain
    if trouble and processes.rank == processes.count - 1:
        objective = Troubled(objective, trouble)
    shards = None
    if sharding == "full":
        shards = Shards(network, CPU, processes.count)
        objective = ShardedObjective(objective, shards)
    settings = TrainingSection(
        steps=steps, batch_size=batch_size, gradient_accumulation_steps=accumulation, eval_batches=999
    )
    stream = stream_of(samples)
    run = Run(
        model=network,
        objective=objective,
        tokenizer=ByteTokenizer(),
        optimizer=make_optimizer(network, settings),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        dataset=data.Dataset(stream, None, 0.0, 0.0),
        training=settings,
        device=CPU,
        labels={},
        processes=processes,
        shards=shards,
    )
    found, progress = [], Progress()
    network.train()
    for step in range(1, steps + 1):
        position = progress.position
        result = optimizer_step(run, progress, loop.batches(run, position), 1e-2, lambda *retry: None)
        found.append([result.loss, result.grad_norm, float(result.tokens)])
        progress.position = Position(step, position.samples + loop.samples_of_step(run, position))
    found.append([evaluate_on(run, stream).loss])
    return found, gather(network.state_dict(keep_vars=True), processes.first)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases, folder = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    with process_group() as group:
        for name, case in cases.items():
            figures, weights = train(group, **case)
            if group.first:
                torch.save(weights, folder / f"{name}.pt")
                sys.stdout.write(json.dumps({"name": name, "figures": figures}) + "\n")
