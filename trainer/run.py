"""A whole training run: from its configuration to its last record."""

from __future__ import annotations

import importlib.metadata
import os
import statistics
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers

from trainer.attention.pattern import layer_windows
from trainer.config import TrainConfig
from trainer.distributed.processes import ALONE, Processes, lost_processes_told
from trainer.errors import RunError
from trainer.learning.evaluation import Evaluation, examine
from trainer.learning.loop import finished, train
from trainer.learning.position import Position
from trainer.preparation import DATA_SET, ECONOMY, prepare
from trainer.records.metrics import MetricsLog, Sink
from trainer.records.progress import Reporter
from trainer.start import Options
from trainer.stop import StopRequest
from trainer.survival.lock import only_run


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


def run(config: TrainConfig, options: Options, reporter: Reporter, processes: Processes = ALONE) -> Summary:
    """Train as configured, as one of several processes or alone.

    Raises:
        UserError: something that a person can put right, found before the first step.
        RunError: the run could not go on.
    """
    alone = only_run(config.output.output_dir, config.log_file) if processes.first else nullcontext()
    with alone:
        return _run(config, options, reporter, processes)


def _run(config: TrainConfig, options: Options, reporter: Reporter, processes: Processes) -> Summary:
    stop = StopRequest(reporter.say, config.training.stop_file if processes.first else None)
    sinks: list[Sink] = [reporter.record]
    if config.output.tensorboard and processes.first:
        from trainer.records.tensorboard import FOLDER, EventFiles

        sinks.append(EventFiles(config.log_file.parent / FOLDER, reporter.say).record)
    prepared = prepare(config, options, reporter, processes)
    state, position, decision = prepared.run, prepared.position, prepared.decision
    dataset, proven = state.dataset, prepared.proven
    settings = config.model_dump(mode="json", by_alias=False)
    resumed_from = position.step if prepared.resumed else None
    log_file = config.log_file if processes.first else Path(os.devnull)
    with stop, MetricsLog(log_file, resumed_from, failed=stop.request, sinks=sinks) as log:
        log.write(
            "run_start",
            position.step,
            resumed_from=resumed_from,
            config=settings,
            versions=versions(),
            device=str(state.device),
            processes=processes.count,
            precision=prepared.precision.name,
            parameters=sum(parameter.numel() for parameter in state.model.parameters()),
            trainable_parameters=sum(p.numel() for p in state.model.parameters() if p.requires_grad),
            utilization=state.utilization.to_json(),
            training_tokens=len(dataset.training.tokens),
            attention=decision.to_json(),
            windows=layer_windows(state.model.config),
            capability_fingerprint=proven.fingerprint.model_dump(mode="json") if proven else None,
            memory=asdict(prepared.preflight),
            warnings=prepared.notes,
        )
        if decision.fell_back:
            log.write("backend_fallback", position.step, **decision.to_json())

        def save(at: Position) -> None:
            kept = {**settings, DATA_SET: dataset.content, ECONOMY: asdict(state.economy)}
            path = prepared.checkpoints.save(
                at, state.model, state.tokenizer, state.optimizer, state.scaler, state.device, kept, processes
            )
            log.write("checkpoint", at.step, path=str(path))

        try:
            total = None if config.data.iterate else config.training.steps
            with reporter.steps(total, done=position.step), lost_processes_told():
                position = train(state, position, log, reporter, save, stop)
        except (KeyboardInterrupt, RunError) as reason:
            log.write("stopped", log.step, reason=str(reason) or "interrupted, without a checkpoint")
            raise
        completed = finished(state, position)
        evaluation = examine(state, position.step, log, reporter) if completed else None
        if not completed:
            log.write("stopped", position.step, reason=stop.reason or "another process was asked to")
        rate = statistics.median(state.rates) if state.rates else None
        share = state.utilization.mfu(rate / processes.count) if rate else None
        log.write("run_end", position.step, completed=completed, tokens_per_second=rate, mfu=share)
    entropies = dataset.unigram_entropy, dataset.bigram_entropy
    return Summary(position, completed, evaluation, rate, share, state.utilization.reason, *entropies)


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
