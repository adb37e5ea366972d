"""A whole training run: from its configuration to its last record."""

from __future__ import annotations

import importlib.metadata
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from trainer import capability, data, hub, mfu, model, tokenizer
from trainer.attention.pattern import layer_windows, smaller
from trainer.checkpoint import CHECKPOINTS, CheckpointFolder, Position, read_state, restore
from trainer.config import TrainConfig
from trainer.device import choose_device, choose_precision, gpu_name
from trainer.errors import RunError, UserError
from trainer.loop import Evaluation, Run, evaluate, finished, train
from trainer.metrics import MetricsLog
from trainer.optimizer import make_optimizer
from trainer.progress import Reporter
from trainer.stop import StopRequest
from trainer.tokenizer import Tokenizer

# A checkpoint brings these itself: another value could not be honoured when resuming.
FIXED_BY_CHECKPOINT = ("name", "architecture", "tokenizer")
DATA_SET = "data_set"  # beside the sections of the configuration in a checkpoint


@dataclass(frozen=True)
class Options:
    """What a run is told beside its configuration; see the help of `aios train`."""

    resume: bool = False
    strict: bool = False
    strict_capability: bool = False
    capability_file: Path | None = None


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        evaluation: None where it was stopped, or nothing is held out.
        tokens_per_second: of the median step; None where none was taken.
        mfu: of that step; None where it is not known.
        no_mfu: why not.
    """

    position: Position
    completed: bool
    evaluation: Evaluation | None
    tokens_per_second: float | None
    mfu: float | None
    no_mfu: str | None
    unigram_entropy: float
    bigram_entropy: float


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes:
        weights: folder to load weights from; None for fresh ones.
        checkpoint: to resume from; None for a new run.
        notes: what there is to say about it.
    """

    tokenizer: Tokenizer
    model_config: Any
    weights: Path | None = None
    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()


def run(config: TrainConfig, options: Options, reporter: Reporter) -> Summary:
    """Train as configured.

    Raises:
        UserError: something that a person can put right, found before the first step.
        RunError: the run could not go on.
    """
    device = choose_device(config.training.device)
    precision = choose_precision(device, config.training.amp)
    checkpoints = CheckpointFolder(config.output.output_dir / CHECKPOINTS, config.training.keep_checkpoints)
    start = _start(config, options, checkpoints, reporter)
    length = config.data.max_length
    dataset = data.load(config.data, start.tokenizer, reporter.say)
    model.check(start.model_config, start.tokenizer, length)

    windows = model.asked_windows(config.model, start.model_config)
    proven = capability.load(options.capability_file, strict=options.strict_capability, say=reporter.say)
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
    network, notes = model.build(start.model_config, start.weights, config.training.seed)
    network = network.to(device)
    if config.model.gradient_checkpointing:
        model.checkpoint_activations(network)
    optimizer = make_optimizer(network, config.training)
    scaler = torch.amp.GradScaler(device.type, enabled=precision.scaled)
    position = restore(start.checkpoint, optimizer, scaler, device) if start.checkpoint else Position()
    notes = [*start.notes, *([precision.note] if precision.note else []), *notes]
    if start.checkpoint:
        before = read_state(start.checkpoint)["config"].get(DATA_SET, dataset.content)
        if before != dataset.content:
            notes.append(
                f"the data set is not what it was: {dataset.content}, before {before}. Its samples are others now."
            )
    for note in notes:
        reporter.say(f"WARNING: {note}")

    settings = config.model_dump(mode="json", by_alias=False)
    windows = layer_windows(start.model_config)
    labels = {"window_size": smaller(*windows), "chunk_size": None, "backend": decision.backend}
    peak = mfu.peak(gpu_name(device), precision.arithmetic)
    width = request.query_heads * request.head_dim
    cost = mfu.utilization(network, width, windows, length, peak)
    state = Run(
        network,
        optimizer,
        scaler,
        dataset,
        config.training,
        device,
        precision,
        labels,
        utilization=cost,
        data=config.data,
    )
    resumed_from = position.step if start.checkpoint else None
    with MetricsLog(config.log_file, resumed_from) as log, StopRequest(reporter.say) as stop:
        log.write(
            "run_start",
            position.step,
            resumed_from=resumed_from,
            config=settings,
            versions=versions(),
            device=str(device),
            precision=precision.name,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            utilization=cost.to_json(),
            training_tokens=len(dataset.training.tokens),
            attention=decision.to_json(),
            windows=windows,
            capability_fingerprint=proven.fingerprint.model_dump(mode="json") if proven else None,
            warnings=notes,
        )
        if decision.fell_back:
            log.write("backend_fallback", position.step, **decision.to_json())

        def save(at: Position) -> None:
            kept = {**settings, DATA_SET: dataset.content}
            path = checkpoints.save(at, network, start.tokenizer, optimizer, scaler, device, kept)
            log.write("checkpoint", at.step, path=str(path))

        try:
            total = None if config.data.iterate else config.training.steps
            with reporter.steps(total, done=position.step):
                position = train(state, position, log, reporter, save, stop)
        except (KeyboardInterrupt, RunError) as reason:
            log.write("stopped", log.step, reason=str(reason) or "interrupted, without a checkpoint")
            raise
        completed = finished(state, position)
        evaluation = evaluate(state, dataset.held_out) if completed and dataset.held_out else None
        if evaluation:
            log.write("eval", position.step, **asdict(evaluation))
        if not completed:
            log.write("stopped", position.step, reason="asked to stop")
        rate = statistics.median(state.rates) if state.rates else None
        share = cost.mfu(rate) if rate else None
        log.write("run_end", position.step, completed=completed, tokens_per_second=rate, mfu=share)
    entropies = dataset.unigram_entropy, dataset.bigram_entropy
    return Summary(position, completed, evaluation, rate, share, cost.reason, *entropies)


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
    if options.resume:
        checkpoint = checkpoints.newest(reporter.say)
        if checkpoint:
            reporter.say(f"INFO: resuming from {checkpoint}")
            notes = tuple(_changes(config, checkpoint))
            text = tokenizer.load(None, checkpoint)
            return Start(text, model.read_config(checkpoint), checkpoint, checkpoint, notes)
        if checkpoints.exists():
            raise UserError(
                f"Every checkpoint in {checkpoints.folder.absolute()} is damaged: there is nothing to resume from. "
                "Name another folder with output.output_dir (--output-dir) to begin again."
            )
        reporter.say(f"INFO: no checkpoint in {checkpoints.folder} yet: starting from the beginning")
    if config.model.name is None:
        text = tokenizer.load(config.model.tokenizer, None)
        return Start(text, model.make_config(config.model.architecture or {}, text))
    folder = hub.local_copy(config.model.name, "model.name (--name)")
    text = tokenizer.load(config.model.tokenizer, folder)
    if model.has_weights(folder):
        return Start(text, model.read_config(folder), folder)
    return Start(
        text, model.read_config(folder), notes=(f"{folder} holds no weights: training from scratch.",)
    )


def _changes(config: TrainConfig, checkpoint: Path) -> Iterator[str]:
    """What differs from the configuration that the checkpoint was made with."""
    before = read_state(checkpoint)["config"]
    now = config.model_dump(mode="json", by_alias=False)
    for section in ("model", "data", "training"):
        for key, value in now[section].items():
            old = before[section].get(key)
            if value == old:
                continue
            if key in FIXED_BY_CHECKPOINT:
                raise UserError(
                    f"--resume: {section}.{key} is not what {checkpoint} was trained with, and a resumed run keeps its "
                    "model. Take the setting back, or start a new run with another output.output_dir (--output-dir)."
                )
            yield f"resumed with {section}.{key} = {value!r}, before it was {old!r}."
