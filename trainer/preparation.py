"""Preparing a training run: from its configuration to the state before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doctor.capability import Capability
from trainer import capability, data, mfu
from trainer.attention import model_proof
from trainer.attention.call_trace import TracedCall
from trainer.attention.choice import Decision
from trainer.attention.model_proof import ModelProof
from trainer.attention.pattern import Windows, layer_windows, smallest
from trainer.attention.request import AttentionRequest
from trainer.config import TrainConfig
from trainer.data import Dataset
from trainer.device import Precision, choose_device, choose_precision, gpu_name
from trainer.distributed.processes import ALONE, Processes
from trainer.errors import UserError
from trainer.hrm.configuration import HRMConfig
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.objective import NextToken, Objective
from trainer.learning.optimizer import make_optimizer
from trainer.learning.sharded_objective import ShardedObjective, Shards
from trainer.learning.state import MemorySettings, Progress, Run
from trainer.models import lora, model, trial, vocabulary
from trainer.models.tokenizer import encode_prompt
from trainer.records.progress import Reporter
from trainer.say import Say
from trainer.start import Options, Start, find_start
from trainer.survival import memory_estimate
from trainer.survival.checkpoint import CHECKPOINTS, CheckpointFolder, restore
from trainer.survival.memory_estimate import Preflight


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run before its first step.

    Attributes:
        progress: the checkpoint's, if the run is resumed.
        resumed: whether it continues from a checkpoint.
        decision: the attention backend, and why it was chosen.
        capability: what the doctor proved on this machine; None if unknown.
        preflight: the memory estimate.
        warnings: shown when the run starts.
    """

    run: Run
    progress: Progress
    resumed: bool
    checkpoints: CheckpointFolder
    precision: Precision
    decision: Decision
    capability: Capability | None
    preflight: Preflight
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """What is known before the model is built.

    Attributes:
        windows: the configured ones, in addition to the model's own.
        calls: how the model calls attention; empty if that is not known yet.
    """

    config: TrainConfig
    processes: Processes
    device: torch.device
    precision: Precision
    start: Start
    windows: Windows
    calls: tuple[TracedCall, ...]
    dataset: Dataset
    memory: MemorySettings

    @property
    def sharded(self) -> bool:
        return self.config.training.sharding == "full" and self.processes.count > 1


@dataclass(frozen=True, kw_only=True)
class _Attention:
    request: AttentionRequest
    decision: Decision
    capability: Capability | None


@dataclass(frozen=True, kw_only=True)
class _Model:
    """The model, ready to be trained.

    Attributes:
        shards: None if this process holds the whole model.
        warnings: about its weights and its output layer.
    """

    network: Any
    objective: Objective
    shards: Shards | None = None
    warnings: tuple[str, ...] = ()


def prepare(
    config: TrainConfig, options: Options, reporter: Reporter, processes: Processes = ALONE
) -> Prepared:
    """Build all that a run needs, and restore its checkpoint if it is resumed.

    Raises:
        UserError: the run cannot be done as configured.
    """
    checkpoints = CheckpointFolder(config.output.output_dir / CHECKPOINTS, config.training.keep_checkpoints)
    setup = _setup(config, options, checkpoints, processes, reporter.say)
    attention = _choose_attention(setup, options, reporter.say)
    preflight = _check_memory(setup, options, reporter.say)
    built = _build_on_device(setup)
    run = _run(setup, attention, built)
    progress = _progress(setup, run)
    warnings = (*options.notes, *setup.start.notes, *_warnings(setup), *built.warnings)
    for warning in warnings:
        reporter.say(f"WARNING: {warning}")
    return Prepared(
        run=run,
        progress=progress,
        resumed=setup.start.checkpoint is not None,
        checkpoints=checkpoints,
        precision=setup.precision,
        decision=attention.decision,
        capability=attention.capability,
        preflight=preflight,
        warnings=warnings,
    )


def _setup(
    config: TrainConfig, options: Options, checkpoints: CheckpointFolder, processes: Processes, say: Say
) -> _Setup:
    device = choose_device(config.training.device, processes)
    precision = choose_precision(device, config.training.amp)
    start = find_start(config, options, checkpoints, say)
    model.check_length(start.model_config, config.data.max_length)
    windows = model.requested_windows(config.model, start.model_config)
    calls = trial.try_out(start.model_config, windows)  # before data is read, which can take long
    dataset = data.load(config.data, start.tokenizer, say)
    if not (config.model.resize_token_embeddings and start.weights):
        _check_vocabulary(start, dataset, config.training.sample_prompt)
    return _Setup(
        config=config,
        processes=processes,
        device=device,
        precision=precision,
        start=start,
        windows=windows,
        calls=calls,
        dataset=dataset,
        memory=_memory_settings(config, start),
    )


def _check_vocabulary(start: Start, dataset: Dataset, prompt: str | None) -> None:
    """Check that the model has an embedding for every token of the data set and the prompt."""
    texts = [dataset.training.tokens, *([dataset.held_out.tokens] if dataset.held_out else [])]
    vocabulary.check(start.model_config, start.tokenizer, texts, "The data set")
    if prompt is not None:
        tokens = np.array(encode_prompt(start.tokenizer, prompt))
        vocabulary.check(start.model_config, start.tokenizer, [tokens], "training.sample_prompt")


def _memory_settings(config: TrainConfig, start: Start) -> MemorySettings:
    """The configured settings; the checkpoint's if a fallback changed them and the configuration is still the same."""
    configured = MemorySettings(gradient_checkpointing=config.model.gradient_checkpointing)
    if start.saved is None or start.saved.memory is None:
        return configured
    before = start.saved.config
    unchanged = (
        before["training"]["batch_size"] == config.training.batch_size
        and before["model"]["gradient_checkpointing"] == config.model.gradient_checkpointing
    )
    return start.saved.memory if unchanged else configured


def _choose_attention(setup: _Setup, options: Options, say: Say) -> _Attention:
    """Choose the attention backend and attach it to the model's configuration."""
    config, model_config = setup.config, setup.start.model_config
    proven = setup.processes.main_process_first(
        lambda: capability.load(options.capability_file, strict=options.strict_capability, say=say)
    )
    request = model.attention_request(
        model_config,
        setup.device,
        setup.precision,
        setup.windows,
        setup.dataset.packed,
        training=True,
        calls=setup.calls,
    )
    decision = model.attach_attention(
        model_config,
        request,
        setup.windows,
        backend=config.requested_backend,
        proven=proven,
        strict=options.strict,
        say=say,
    )
    return _Attention(request=request, decision=decision, capability=proven)


def _check_memory(setup: _Setup, options: Options, say: Say) -> Preflight:
    """Estimate the memory of a step, and refuse what will not fit."""

    def build() -> tuple[Any, Objective]:
        built = _build(setup, None, None)
        return built.network, built.objective

    training = setup.config.training
    preflight = memory_estimate.preflight(
        build,
        training,
        setup.device,
        (setup.memory.micro_batch_size or training.batch_size, setup.config.data.max_length),
        setup.dataset.packed,
        setup.processes.count if setup.sharded else 1,
    )
    preflight.check(say, options.force)
    return preflight


def _build(setup: _Setup, weights: Path | None, adapter: Path | None) -> _Model:
    """Build the model on the CPU.

    Args:
        weights: folder to load weights from; None for new ones.
        adapter: folder to load a LoRA adapter from; None for a new one.
    """
    config = setup.config
    # Frozen weights never change, so they can have the dtype of the computation. FSDP requires one dtype for all.
    reduced = config.model.use_peft and config.training.sharding == "none"
    dtype = setup.precision.dtype if reduced else torch.float32
    network, warnings = model.build(setup.start.model_config, weights, config.training.seed, dtype)
    if config.model.resize_token_embeddings and weights:
        warnings = [*warnings, *vocabulary.grow(network, setup.start.tokenizer)]
    if config.model.use_peft and adapter:
        lora.load(network, adapter)
    elif config.model.use_peft:
        lora.add(network, config.model)
    if setup.memory.gradient_checkpointing:
        model.checkpoint_activations(network)
    objective = DeepSupervision if isinstance(setup.start.model_config, HRMConfig) else NextToken
    return _Model(network=network, objective=objective(network, setup.precision), warnings=tuple(warnings))


def _build_on_device(setup: _Setup) -> _Model:
    """Build the model with its weights, shard it if configured, and move it to the device."""
    built = _build(setup, setup.start.weights, setup.start.checkpoint)
    network, objective, shards = built.network, built.objective, None
    setup.processes.check_same_weights(network)
    if setup.sharded:
        setup.processes.check_sharding(setup.device)
        shards = Shards(network, setup.device, setup.processes.count)
        objective = ShardedObjective(objective, shards)
    network = network.to(setup.device)
    _prove(setup, network, shards)
    return _Model(
        network=network,
        objective=objective,
        shards=shards,
        warnings=(*built.warnings, *_logits_warning(objective)),
    )


def _prove(setup: _Setup, network: Any, shards: Shards | None) -> None:
    """Prove on the built model that tokens do not see later ones, other documents, or tokens outside the window.

    Raises:
        UserError: they do.
    """

    def prove() -> ModelProof:
        return model_proof.prove(network)

    config = setup.start.model_config
    with trial.refusals(config):
        proof = shards.forward_of(prove) if shards else prove()
    failures = proof.failures(setup.dataset.packed, windows=any(setup.windows))
    if not failures:
        return
    if failures == [proof.isolation]:
        raise UserError(
            f"data.packing puts several documents into a row, but this {config.model_type} model cannot keep them apart: "
            f"{proof.isolation}. Set data.packing: false (--no-packing), which gives each document rows of its own."
        )
    if failures == [proof.windows]:
        raise UserError(
            f"This {config.model_type} model cannot be trained with a window: {proof.windows}. Remove model.window_size and "
            f"model.window_pattern, or choose another model type. {trial.CHOOSE}"
        )
    raise UserError(
        f"A model of the type {config.model_type} cannot be trained here: {'; '.join(failures)}. {trial.CHOOSE}"
    )


def _logits_warning(objective: Objective) -> list[str]:
    """Warn if the loss needs all logits of a batch at once."""
    if isinstance(objective, ShardedObjective):
        return objective.shards.forward_of(lambda: _logits_warning(objective.objective))
    if not isinstance(objective, NextToken) or objective.output_layer is not None:
        return []
    name = type(objective.model).__name__
    return [
        f"the loss of {name} computes the logits of a whole batch at once (batch x length x vocabulary), because its output "
        "layer is not a plain linear layer or changes its logits in an unknown way. This uses more memory."
    ]


def _run(setup: _Setup, attention: _Attention, built: _Model) -> Run:
    """Put the run together, with a new optimizer and gradient scaler."""
    config, request = setup.config, attention.request
    windows = layer_windows(setup.start.model_config)
    peak = mfu.peak(gpu_name(setup.device), setup.precision.arithmetic)
    widths = mfu.layer_widths(setup.calls) or request.query_heads * request.head_dim
    return Run(
        model=built.network,
        objective=built.objective,
        tokenizer=setup.start.tokenizer,
        optimizer=make_optimizer(built.network, config.training),
        scaler=torch.amp.GradScaler(setup.device.type, enabled=setup.precision.scaled),
        dataset=setup.dataset,
        training=config.training,
        device=setup.device,
        labels={
            "window_size": smallest(*windows),
            "chunk_size": None,
            "backend": attention.decision.backend,
        },
        utilization=mfu.utilization(built.network, widths, windows, config.data.max_length, peak),
        data=config.data,
        processes=setup.processes,
        shards=built.shards,
    )


def _progress(setup: _Setup, run: Run) -> Progress:
    """Where the run starts. Restores optimizer, scaler and random state from the checkpoint, if there is one."""
    rank = setup.processes.rank
    if rank:
        torch.manual_seed(
            setup.config.training.seed + rank
        )  # so that each process drops out other activations
    progress = Progress(memory=setup.memory)
    if setup.start.checkpoint:
        progress.position = restore(setup.start.checkpoint, run.optimizer, run.scaler, setup.device, rank)
        progress.checkpoints.saved(setup.start.checkpoint)
    return progress


def _warnings(setup: _Setup) -> Iterator[str]:
    """Warnings about the run as a whole."""
    config, processes, saved = setup.config, setup.processes, setup.start.saved
    if setup.precision.note:
        yield setup.precision.note
    steps, warmup = config.training.steps, config.training.warmup_steps
    if warmup > steps:
        yield (
            f"training.warmup_steps = {warmup} is more than training.steps = {steps}, so the learning rate reaches only "
            f"{steps / warmup:.0%} of its peak."
        )
    if config.training.sharding == "full" and not setup.sharded:
        yield "training.sharding = full has no effect with one process: it holds the whole model."
    if setup.memory != MemorySettings(gradient_checkpointing=config.model.gradient_checkpointing):
        yield f"the run ran out of memory before the checkpoint: continuing with {setup.memory}."
    if saved and saved.processes != processes.count:
        yield (
            f"the number of processes changed since the checkpoint (was {saved.processes}, now {processes.count}); each "
            f"reads training.batch_size = {config.training.batch_size} samples at a time."
        )
    before, now = saved.data_set if saved else None, setup.dataset.content
    if before is not None and before != now:
        yield (
            f"the data set has changed since the checkpoint (was {before}, now {now}); the remaining samples will differ."
        )
