"""Preparing a training run: from its configuration to the state before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doctor.capability import Capability
from trainer import building, capability, chunking, data, mfu, run_warnings
from trainer.attention.choice import Decision
from trainer.attention.pattern import layer_windows, smallest
from trainer.attention.request import AttentionRequest
from trainer.building import BuiltModel, Setup
from trainer.config import TrainConfig, recommended
from trainer.data import Dataset
from trainer.device import Precision, choose_device, choose_precision, gpu_name, total_memory
from trainer.distributed import agreement
from trainer.distributed.processes import ALONE, Processes
from trainer.errors import UserError
from trainer.hrm.configuration import HRMConfig
from trainer.learning.early_stop import Best
from trainer.learning.loop import steps_of_epochs
from trainer.learning.objective import Objective
from trainer.learning.optimizer import make_optimizer
from trainer.learning.position import Position
from trainer.learning.state import MemorySettings, Progress, Run
from trainer.models import chat_template, model, model_attention, quantization, trial, vocabulary
from trainer.models.tokenizer import encode_prompt
from trainer.records.progress import Reporter
from trainer.run_size import run_size
from trainer.say import Say
from trainer.start import Options, Start, find_start
from trainer.survival import preflight
from trainer.survival.checkpoint import CheckpointFolder, restore
from trainer.survival.checkpoint_names import CHECKPOINTS
from trainer.survival.preflight import Preflight


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run before its first step.

    Attributes:
        config: with the number of steps that training.epochs means.
        progress: the checkpoint's, if the run is resumed.
        resumed: whether it continues from a checkpoint.
        decision: the attention backend, and why it was chosen.
        capability: what the doctor proved on this machine; None if unknown.
        preflight: the memory estimate.
        warnings: shown when the run starts.
    """

    config: TrainConfig
    run: Run
    progress: Progress
    resumed: bool
    checkpoints: CheckpointFolder
    precision: Precision
    decision: Decision
    capability: Capability | None
    preflight: Preflight
    warnings: tuple[str, ...]

    def keep_best(self, checkpoint: Path) -> None:
        """Keep a checkpoint as the best one. The first process does it for all."""
        if self.run.processes.first:
            self.checkpoints.keep_best(checkpoint)


@dataclass(frozen=True, kw_only=True)
class _Attention:
    request: AttentionRequest
    decision: Decision
    capability: Capability | None


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
    memory = _check_memory(setup, options, reporter.say)
    built = building.build_on_device(setup)
    for line in built.notes:
        reporter.say(line)
    run = _run(setup, attention, built)
    progress = _progress(setup, run)
    sizes = run_size(setup.config, setup.dataset, built.network, processes.count)
    for line in sizes.lines():
        reporter.say(line)
    notes = (*options.notes, *setup.start.notes, *run_warnings.of(setup), *built.warnings)
    warnings = (*notes, *filter(None, [sizes.warning()]))
    for warning in warnings:
        reporter.say(f"WARNING: {warning}")
    if warnings and options.strict:
        raise UserError("--strict: the warnings above are errors.")
    return Prepared(
        config=setup.config,
        run=run,
        progress=progress,
        resumed=setup.start.checkpoint is not None,
        checkpoints=checkpoints,
        precision=setup.precision,
        decision=attention.decision,
        capability=attention.capability,
        preflight=memory,
        warnings=warnings,
    )


def _setup(
    config: TrainConfig, options: Options, checkpoints: CheckpointFolder, processes: Processes, say: Say
) -> Setup:
    device = choose_device(config.training.device, processes)
    config, notes = recommended.resolve(config, total_memory(device))
    for note in notes:
        say(f"INFO: {note}")
    precision = choose_precision(device, config.training.amp)
    if bits := config.model.weight_bits:
        quantization.prove(bits, device, precision.dtype)
    start = find_start(config, options, checkpoints, say, processes)
    _check_loss(config, start)
    model.check_length(start.model_config, config.data.max_length)
    chunking.check_positions(config, start.model_config)
    windows = model_attention.requested_windows(config.model, start.model_config)
    calls = trial.try_out(start.model_config, windows)  # before data is read, which can take long
    dataset = data.load(config.data, start.tokenizer, say)
    agreement.check_same(processes, "their data set", dataset.content)
    _check_early_stop(config, dataset)
    config = _with_steps(config, dataset, start, processes)
    if dataset.template:  # so that checkpoints have it
        chat_template.save_in(start.tokenizer, dataset.template)
    if not (config.model.resize_token_embeddings and start.weights):
        _check_vocabulary(start, dataset, config.training.sample_prompt)
    return Setup(
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


def _check_loss(config: TrainConfig, start: Start) -> None:
    if config.training.preference and isinstance(start.model_config, HRMConfig):
        raise UserError(
            f"training.loss = {config.training.loss} compares the probabilities of answers, which an HRM ACT v1 model does not "
            "learn as one. Remove training.loss (--loss)."
        )


def _check_early_stop(config: TrainConfig, dataset: Dataset) -> None:
    training = config.training
    if training.early_stop_patience and not (dataset.held_out and training.eval_every):
        missing = "training.eval_every (--eval-every)" if dataset.held_out else "held-out text"
        raise UserError(
            f"training.early_stop_patience needs {missing}: it stops a run by its evaluations. Set data.eval_fraction "
            "(--eval-fraction) or data.eval_file, and training.eval_every."
        )


def _with_steps(config: TrainConfig, dataset: Dataset, start: Start, processes: Processes) -> TrainConfig:
    """The configuration with the number of steps that training.epochs means, after those of the checkpoint."""
    done = start.saved.position if start.saved else Position()
    steps = steps_of_epochs(config, dataset.training.blocks, done, processes.count)
    if steps is None:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"steps": steps})})


def _check_vocabulary(start: Start, dataset: Dataset, prompt: str | None) -> None:
    """Check that the model has an embedding for every token of the data set and the prompt."""
    streams = [dataset.training, *([dataset.held_out] if dataset.held_out else [])]
    rows = vocabulary.rows(start.model_config)
    # A cache knows its largest token: a large data set is not read for this.
    texts = [each.tokens for each in streams if each.source.largest is None or each.source.largest >= rows]
    vocabulary.check(start.model_config, start.tokenizer, texts, "The data set")
    if prompt is not None:
        tokens = np.array(encode_prompt(start.tokenizer, prompt))
        vocabulary.check(start.model_config, start.tokenizer, [tokens], "training.sample_prompt")


def _memory_settings(config: TrainConfig, start: Start) -> MemorySettings:
    """The configured settings; the checkpoint's if a fallback changed them and the configuration is still the same."""
    configured = MemorySettings.configured(config)
    if start.saved is None or start.saved.memory is None:
        return configured
    now, before = config.model_dump(mode="json", by_alias=False), start.saved.config
    keys = [
        ("training", "batch_size"),
        ("model", "gradient_checkpointing"),
        ("training", "use_chunked_training"),
        ("training", "chunk_size"),
    ]
    # The checkpoint may be older than a key.
    unchanged = all(before[section].get(key, now[section][key]) == now[section][key] for section, key in keys)
    return start.saved.memory if unchanged else configured


def _choose_attention(setup: Setup, options: Options, say: Say) -> _Attention:
    """Choose the attention backend and attach it to the model's configuration."""
    config, model_config = setup.config, setup.start.model_config
    proven = setup.processes.main_process_first(
        lambda: capability.load(options.capability_file, strict=options.strict_capability, say=say)
    )
    request = model_attention.attention_request(
        model_config,
        setup.device,
        setup.precision,
        setup.windows,
        setup.dataset.packed,
        training=True,
        calls=setup.calls,
    )
    decision = model_attention.attach_attention(
        model_config,
        request,
        setup.windows,
        backend=config.requested_backend,
        proven=proven,
        strict=options.strict,
        say=say,
    )
    return _Attention(request=request, decision=decision, capability=proven)


def _check_memory(setup: Setup, options: Options, say: Say) -> Preflight:
    """Estimate the memory of a step, and refuse what will not fit."""

    def build() -> tuple[Any, Objective]:
        built = building.build_for_estimate(
            setup.config,
            setup.start.model_config,
            setup.precision,
            setup.memory.gradient_checkpointing,
            setup.device,
        )
        return built.network, built.objective

    training = setup.config.training
    found = preflight.of_step(
        build,
        training,
        setup.device,
        (setup.memory.micro_batch_size or training.batch_size, setup.config.data.max_length),
        setup.dataset.packed,
        setup.per_copy if setup.sharded else 1,
    )
    found.check(say, options.force)
    if building.needs_copy(setup.config):
        say(
            f"INFO: training.loss = {training.loss} compares with a frozen copy of the model before training, which is part of the "
            "weights above. LoRA (--use-peft) needs no copy."
        )
    return found


def _run(setup: Setup, attention: _Attention, built: BuiltModel) -> Run:
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


def _progress(setup: Setup, run: Run) -> Progress:
    """Where the run starts. Restores optimizer, scaler and random state from the checkpoint, if there is one."""
    rank = setup.processes.rank
    if rank:
        torch.manual_seed(
            setup.config.training.seed + rank
        )  # so that each process drops out other activations
    saved = setup.start.saved
    progress = Progress(memory=setup.memory, best=saved.best if saved and saved.best else Best())
    if setup.start.checkpoint:
        progress.position = restore(setup.start.checkpoint, run.optimizer, run.scaler, setup.device, rank)
        progress.checkpoints.saved(setup.start.checkpoint)
    return progress
