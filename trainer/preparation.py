"""Making ready what a training run works on: from its configuration to the state before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from doctor.capability import Capability
from trainer import capability, data, mfu
from trainer.attention.choice import Decision
from trainer.attention.pattern import layer_windows, smallest
from trainer.config import TrainConfig
from trainer.device import Precision, choose_device, choose_precision, gpu_name
from trainer.distributed.processes import ALONE, Processes
from trainer.hrm.configuration import HRMConfig
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.objective import NextToken, Objective
from trainer.learning.optimizer import make_optimizer
from trainer.learning.position import Position
from trainer.learning.sharded_objective import ShardedObjective, Shards
from trainer.learning.state import Economy, Run
from trainer.models import lora, model
from trainer.records.progress import Reporter
from trainer.start import Options, find_start
from trainer.survival import memory_estimate as memory
from trainer.survival.checkpoint import CHECKPOINTS, CheckpointFolder, read_state, restore
from trainer.survival.memory_estimate import Preflight

DATA_SET, ECONOMY = "data_set", "economy"  # beside the sections of the configuration in a checkpoint


@dataclass(frozen=True)
class Prepared:
    """A run before its first step.

    Attributes:
        position: where it begins; not the beginning where it is resumed.
        resumed: whether it goes on from a checkpoint.
        decision: which attention backend it runs on, and why.
        notes: what a person was warned of.
        preflight: what memory was foreseen.
    """

    run: Run
    position: Position
    resumed: bool
    checkpoints: CheckpointFolder
    precision: Precision
    decision: Decision
    proven: Capability | None
    notes: tuple[str, ...]
    preflight: Preflight


def prepare(
    config: TrainConfig, options: Options, reporter: Reporter, processes: Processes = ALONE
) -> Prepared:
    """Everything that a run needs, or the reason why it cannot be had.

    Raises:
        UserError: something that a person can put right.
    """
    device = choose_device(config.training.device, processes)
    precision = choose_precision(device, config.training.amp)
    checkpoints = CheckpointFolder(config.output.output_dir / CHECKPOINTS, config.training.keep_checkpoints)
    start = find_start(config, options, checkpoints, reporter)
    length = config.data.max_length
    dataset = data.load(config.data, start.tokenizer, reporter.say)
    model.check(start.model_config, start.tokenizer, length)

    windows = model.requested_windows(config.model, start.model_config)
    proven = processes.after_the_first(
        lambda: capability.load(options.capability_file, strict=options.strict_capability, say=reporter.say)
    )
    request = model.attention_request(
        start.model_config, device, precision, windows, dataset.packed, training=True
    )
    decision = model.attach_attention(
        start.model_config,
        request,
        windows,
        backend=config.requested_backend,
        proven=proven,
        strict=options.strict,
        say=reporter.say,
    )
    # Frozen weights are never changed, so they may be as coarse as they are computed with. Shards are of one type.
    coarse = config.model.use_peft and config.training.sharding == "none"
    dtype = precision.dtype if coarse else torch.float32
    economy = _economy(config, start.checkpoint)

    def learner(weights: Path | None, checkpoint: Path | None) -> tuple[Any, Objective, list[str]]:
        network, notes = model.build(start.model_config, weights, config.training.seed, dtype)
        if config.model.use_peft and checkpoint:
            lora.load(network, checkpoint)
        elif config.model.use_peft:
            lora.add(network, config.model)
        if economy.checkpointed:
            model.checkpoint_activations(network)
        learning = DeepSupervision if isinstance(start.model_config, HRMConfig) else NextToken
        return network, learning(network, precision), notes

    preflight = memory.preflight(
        lambda: learner(None, None)[:2],
        config.training,
        device,
        (economy.sequences or config.training.batch_size, length),
        dataset.packed,
        processes.count if config.training.sharding == "full" else 1,
    )
    preflight.tell(reporter.say, options.force)
    network, objective, notes = learner(start.weights, start.checkpoint)
    processes.check_alike(network)
    shards = None
    if config.training.sharding == "full" and processes.count > 1:
        processes.check_sharding(device)
        shards = Shards(network, device, processes.count)
        objective = ShardedObjective(objective, shards)
    network = network.to(device)
    notes += _of_logits(objective)
    optimizer = make_optimizer(network, config.training)
    scaler = torch.amp.GradScaler(device.type, enabled=precision.scaled)
    if processes.rank:
        torch.manual_seed(config.training.seed + processes.rank)  # dropout of its own
    position = Position()
    if start.checkpoint:
        position = restore(start.checkpoint, optimizer, scaler, device, processes.rank)
    notes = [*options.notes, *start.notes, *([precision.note] if precision.note else []), *notes]
    if config.training.sharding == "full" and shards is None:
        notes.append("training.sharding = full: there is one process, so it keeps all of the model.")
    if start.checkpoint:
        saved = read_state(start.checkpoint)
        if (count := saved.get("processes", 1)) != processes.count:
            notes.append(
                f"the run had processes: {count}, and goes on with {processes.count}. Each reads training.batch_size = "
                f"{config.training.batch_size} samples at a time."
            )
        before = saved["config"].get(DATA_SET, dataset.content)
        if before != dataset.content:
            notes.append(
                f"the data set is not what it was: {dataset.content}, before {before}. Its samples are others now."
            )
    if economy != Economy(checkpointed=config.model.gradient_checkpointing):
        notes.append(f"memory ran out before: going on in {economy}.")
    for note in notes:
        reporter.say(f"WARNING: {note}")

    windows = layer_windows(start.model_config)
    labels = {"window_size": smallest(*windows), "chunk_size": None, "backend": decision.backend}
    peak = mfu.peak(gpu_name(device), precision.arithmetic)
    width = request.query_heads * request.head_dim
    cost = mfu.utilization(network, width, windows, length, peak)
    state = Run(
        network,
        objective,
        start.tokenizer,
        optimizer,
        scaler,
        dataset,
        config.training,
        device,
        labels,
        utilization=cost,
        economy=economy,
        data=config.data,
        processes=processes,
        shards=shards,
    )
    return Prepared(
        state,
        position,
        start.checkpoint is not None,
        checkpoints,
        precision,
        decision,
        proven,
        tuple(notes),
        preflight,
    )


def _of_logits(objective: Objective) -> list[str]:
    """What there is to say of the memory that the logits take."""
    if isinstance(objective, ShardedObjective):
        return objective.shards.forward_of(lambda: _of_logits(objective.objective))
    if not isinstance(objective, NextToken) or objective.output_layer is not None:
        return []
    name = type(objective.model).__name__
    return [
        f"the loss of {name} takes the logits of a whole batch at once, batch x length x vocabulary: its output layer is "
        "no plain one, or it does something to logits that is not known here."
    ]


def _economy(config: TrainConfig, checkpoint: Path | None) -> Economy:
    """What is asked for; or what had to be saved before, unless what is saved by has been set anew."""
    asked = Economy(checkpointed=config.model.gradient_checkpointing)
    if checkpoint is None:
        return asked
    before = read_state(checkpoint)["config"]
    alike = (
        before["training"]["batch_size"] == config.training.batch_size
        and before["model"]["gradient_checkpointing"] == config.model.gradient_checkpointing
    )
    return Economy(**before[ECONOMY]) if alike and ECONOMY in before else asked
