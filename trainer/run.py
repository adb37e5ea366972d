"""A whole training run: from its configuration to its last record."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from trainer import capability, data, hub, model, tokenizer
from trainer.attention import huggingface
from trainer.attention.choice import decide
from trainer.checkpoint import CHECKPOINTS, CheckpointFolder, Position, read_state, restore
from trainer.config import TrainConfig
from trainer.device import choose_device, choose_precision
from trainer.errors import UserError
from trainer.loop import Evaluation, NotFiniteError, Run, evaluate, train
from trainer.metrics import MetricsLog
from trainer.optimizer import make_optimizer
from trainer.progress import Reporter
from trainer.stop import StopRequest
from trainer.tokenizer import Tokenizer

# A checkpoint brings these itself: another value could not be honoured when resuming.
FIXED_BY_CHECKPOINT = ("name", "architecture", "tokenizer")


@dataclass(frozen=True)
class Options:
    """What a run is told beside its configuration; see the help of `aios train`."""

    resume: bool = False
    strict: bool = False
    strict_capability: bool = False
    capability_file: Path | None = None


@dataclass(frozen=True)
class Summary:
    """How a run ended. `evaluation` is None where it was stopped, or nothing is held out."""

    position: Position
    completed: bool
    evaluation: Evaluation | None
    unigram_entropy: float
    bigram_entropy: float


@dataclass(frozen=True)
class Start:
    """Where a run begins: a checkpoint to resume from, else a model folder, else neither (from scratch)."""

    checkpoint: Path | None
    folder: Path | None
    tokenizer: Tokenizer
    changed: dict[str, list[Any]]


def run(config: TrainConfig, options: Options, reporter: Reporter) -> Summary:
    """Train as configured.

    Raises:
        UserError: something that a person can put right, found before the first step.
        NotFiniteError: training has diverged.
    """
    checkpoints = CheckpointFolder(config.output.output_dir / CHECKPOINTS, config.training.keep_checkpoints)
    device = choose_device(config.training.device)
    precision = choose_precision(device, config.training.amp)
    start = _start(config, options, checkpoints, reporter)
    dataset = data.load(
        config.data.dataset_file or Path(), start.tokenizer, config.data.max_length, config.data.eval_fraction
    )
    source = start.checkpoint or start.folder
    model_config = (
        model.read_config(source)
        if source
        else model.make_config(config.model.architecture or {}, start.tokenizer)
    )
    model.check(model_config, start.tokenizer, config.data.max_length)

    proven = capability.load(options.capability_file, strict=options.strict_capability, say=reporter.say)
    packed = dataset.training.packed or bool(dataset.held_out and dataset.held_out.packed)
    named = config.model.window_size
    window = (huggingface.window_of(model_config) if named is None else named) or None
    request = model.attention_request(model_config, device, precision, window, packed, training=True)
    decision = decide(config.requested_backend, request, proven)
    for line in decision.log_lines():
        reporter.say(line)
    if options.strict and decision.fell_back:
        raise UserError(
            f"--strict: {decision.requested} was asked for and cannot be had (the reasons are above)."
        )
    huggingface.attach(model_config, backend=decision.backend, window=window)

    weights = start.checkpoint or (start.folder if start.folder and model.has_weights(start.folder) else None)
    network, notes = model.build(model_config, weights, config.training.seed)
    notes += [precision.note] if precision.note else []
    if start.folder and not weights:
        notes.append(f"{start.folder} holds no weights: training from scratch.")
    notes += [f"resumed with another {key}: {new} for {old}." for key, (old, new) in start.changed.items()]
    network = network.to(device)
    if config.model.gradient_checkpointing:
        _checkpoint_activations(network)
    optimizer = make_optimizer(network, config.training)
    scaler = torch.amp.GradScaler(device.type, enabled=precision.scaled)
    position = restore(start.checkpoint, optimizer, scaler, device) if start.checkpoint else Position()
    for note in notes:
        reporter.say(f"WARNING: {note}")

    settings = config.model_dump(mode="json", by_alias=False)
    labels = {"window_size": window, "chunk_size": None, "backend": decision.backend}
    state = Run(network, optimizer, scaler, dataset, config.training, device, precision, labels)
    with (
        MetricsLog(config.log_file, position.step if start.checkpoint else None) as log,
        StopRequest(reporter.say) as stop,
    ):
        log.write(
            "run_start",
            position.step,
            resumed_from=position.step if start.checkpoint else None,
            config=settings,
            versions=versions(),
            device=str(device),
            precision=precision.name,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            training_tokens=len(dataset.training.tokens),
            attention=decision.to_json(),
            capability_fingerprint=proven.fingerprint.model_dump(mode="json") if proven else None,
            warnings=notes,
        )
        if decision.fell_back:
            log.write("backend_fallback", position.step, **decision.to_json())

        def save(at: Position) -> None:
            path = checkpoints.save(at, network, start.tokenizer, optimizer, scaler, device, settings)
            log.write("checkpoint", at.step, path=str(path))

        try:
            with reporter.steps(config.training.steps, done=position.step):
                position = train(state, position, log, reporter, save, stop)
        except (KeyboardInterrupt, NotFiniteError) as reason:
            log.write("stopped", position.step, reason=type(reason).__name__)
            raise
        completed = position.step >= config.training.steps
        evaluation = evaluate(state, dataset.held_out) if completed and dataset.held_out else None
        if evaluation:
            log.write("eval", position.step, **asdict(evaluation))
        if not completed:
            log.write("stopped", position.step, reason="asked to stop")
        log.write("run_end", position.step, completed=completed)
    return Summary(position, completed, evaluation, dataset.unigram_entropy, dataset.bigram_entropy)


def versions() -> dict[str, str]:
    try:
        aios = importlib.metadata.version("aios")
    except importlib.metadata.PackageNotFoundError:
        aios = "not installed"
    return {
        "aios": aios,
        "python": ".".join(map(str, sys.version_info[:3])),
        "platform": sys.platform,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _start(config: TrainConfig, options: Options, checkpoints: CheckpointFolder, reporter: Reporter) -> Start:
    if checkpoints.exists() and not options.resume:
        raise UserError(
            f"{config.output.output_dir.absolute()} holds checkpoints of a run already. Go on with it by --resume, "
            "or name another folder with output.output_dir (--output-dir)."
        )
    checkpoint = checkpoints.newest(reporter.say) if options.resume else None
    if checkpoint:
        reporter.say(f"INFO: resuming from {checkpoint}")
        return Start(checkpoint, None, tokenizer.load(None, checkpoint), _changed(config, checkpoint))
    if options.resume and checkpoints.exists():
        raise UserError(
            f"Every checkpoint in {checkpoints.folder.absolute()} is damaged, so there is nothing to resume from. "
            "Name another folder with output.output_dir (--output-dir) to begin again."
        )
    if options.resume:
        reporter.say(f"INFO: no checkpoint in {checkpoints.folder} yet: starting from the beginning")
    folder = hub.local_copy(config.model.name, "model.name (--name)") if config.model.name else None
    return Start(None, folder, tokenizer.load(config.model.tokenizer, folder), {})


def _changed(config: TrainConfig, checkpoint: Path) -> dict[str, list[Any]]:
    """Keys of the model, data and training that differ from those the checkpoint was made with: [old, new]."""
    before = read_state(checkpoint)["config"]
    now = config.model_dump(mode="json", by_alias=False)
    changed = {
        key: [before[section].get(key), value]
        for section in ("model", "data", "training")
        for key, value in now[section].items()
        if before[section].get(key) != value
    }
    if fixed := [key for key in FIXED_BY_CHECKPOINT if key in changed]:
        raise UserError(
            f"--resume: {', '.join(fixed)} is not what {checkpoint} was trained with, and a resumed run keeps its model. "
            "Take the setting back, or start a new run with another output.output_dir (--output-dir)."
        )
    return changed


def _checkpoint_activations(network: Any) -> None:
    if not network.supports_gradient_checkpointing:
        raise UserError(
            f"model.gradient_checkpointing: {type(network).__name__} does not support it. "
            "Leave it out (--no-gradient-checkpointing)."
        )
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
