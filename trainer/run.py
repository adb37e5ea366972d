"""A whole training run: from its configuration to its last record."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from trainer.attention.pattern import layer_windows
from trainer.config import TrainConfig
from trainer.distributed import agreement
from trainer.distributed.heartbeat import EVALUATES
from trainer.distributed.processes import ALONE, Processes, explain_lost_processes
from trainer.early_checks import check_outputs_outside_data
from trainer.errors import RunError
from trainer.learning.evaluation import Evaluation, evaluate
from trainer.learning.loop import finished, train
from trainer.learning.position import Position
from trainer.preparation import Prepared, prepare
from trainer.records.metrics import MetricsLog, Sink
from trainer.records.progress import Reporter
from trainer.start import Options
from trainer.stop import StopRequest
from trainer.survival.lock import lock_run
from trainer.survival.saver import Saver

# A machine may have its own copies of what is read: their content is compared instead.
OWN_PATHS = ("model.name", "model.tokenizer", "data.dataset_file", "data.eval_file", "data.cache_dir")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a run.

    Attributes:
        completed: False if the run was stopped before its end.
        steps_taken: 0 if the run was complete already.
        evaluation: None if it was stopped, or no text is held out.
        tokens_per_second: of the median step; None if there was no step.
        mfu: of that step; None if unknown.
        no_mfu: why it is unknown.
    """

    position: Position
    completed: bool
    steps_taken: int
    evaluation: Evaluation | None
    tokens_per_second: float | None
    mfu: float | None
    no_mfu: str | None
    unigram_entropy: float
    bigram_entropy: float


def run(
    config: TrainConfig, options: Options, reporter: Reporter, processes: Processes = ALONE
) -> Summary | None:
    """Train as configured, alone or as one of several processes. None: a dry run, which ends before the first step.

    Raises:
        UserError: the run cannot be done as configured; found before the first step.
        RunError: the run failed.
    """
    check_outputs_outside_data(config)
    lock = lock_run(config.output.output_dir, config.log_file) if processes.first else nullcontext()
    with lock:
        _check_agreement(config, processes)
        return _run(config, options, reporter, processes)


def _check_agreement(config: TrainConfig, processes: Processes) -> None:
    """Check that all processes have the same versions and settings, and one output folder.

    Raises:
        UserError: they differ.
    """
    agreement.check_same(processes, "their versions", versions())
    settings = config.model_dump(mode="json", by_alias=False)
    flat = {f"{section}.{key}": value for section, keys in settings.items() for key, value in keys.items()}
    agreement.check_same(
        processes, "their configuration", {key: value for key, value in flat.items() if key not in OWN_PATHS}
    )
    if processes.local_count < processes.count:
        agreement.check_shared_folder(processes, config.output.output_dir, "output.output_dir (--output-dir)")


def _run(config: TrainConfig, options: Options, reporter: Reporter, processes: Processes) -> Summary | None:
    if options.dry_run:
        prepare(config, options, reporter, processes)
        return None
    stop = StopRequest(reporter.say, config.training.stop_file if processes.first else None)
    sinks: list[Sink] = [reporter.record]
    if config.output.tensorboard and processes.first:
        from trainer.records.tensorboard import FOLDER, EventFiles

        sinks.append(EventFiles(config.log_file.parent / FOLDER, reporter.say).record)
    prepared = prepare(config, options, reporter, processes)
    config = prepared.config
    step = prepared.progress.position.step
    resumed_from = step if prepared.resumed else None
    log_file = config.log_file if processes.first else Path(os.devnull)
    repeated = options.resume and not prepared.resumed
    written = MetricsLog(log_file, resumed_from, failed=stop.request, sinks=sinks, repeated=repeated)
    with stop, written as log:
        log.write("run_start", step, resumed_from=resumed_from, **_start_record(config, prepared))
        if prepared.decision.fell_back:
            log.write("backend_fallback", step, **prepared.decision.to_json())
        try:
            _train(config, prepared, log, reporter, stop)
            return _finish(prepared, log, reporter, stop)
        except (KeyboardInterrupt, RunError) as reason:
            log.write("stopped", log.step, reason=str(reason) or "interrupted, without a checkpoint")
            raise


def _start_record(config: TrainConfig, prepared: Prepared) -> dict[str, Any]:
    """The fields of the run_start record."""
    run, proven = prepared.run, prepared.capability
    parameters = [*run.model.parameters()]
    return {
        "config": config.model_dump(mode="json", by_alias=False),
        "versions": versions(),
        "device": str(run.device),
        "processes": run.processes.count,
        "hosts": dict(Counter(run.processes.all_texts(platform.node()))),
        "precision": prepared.precision.name,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "utilization": run.utilization.to_json(),
        "training_tokens": len(run.dataset.training.tokens),
        "prefix_ids": run.tokenizer.prefix,
        "attention": prepared.decision.to_json(),
        "windows": layer_windows(run.model.config),
        "capability_fingerprint": proven.fingerprint.model_dump(mode="json") if proven else None,
        "memory": prepared.preflight.to_json(),
        "warnings": prepared.warnings,
    }


def _train(
    config: TrainConfig, prepared: Prepared, log: MetricsLog, reporter: Reporter, stop: StopRequest
) -> None:
    run, progress = prepared.run, prepared.progress

    def saved(path: Path) -> None:
        log.write("checkpoint", int(path.name.removeprefix("step-")), path=str(path))

    saver = Saver(run, progress, prepared.checkpoints, config.model_dump(mode="json", by_alias=False), saved)
    total = None if config.data.iterate else config.training.steps
    with reporter.steps(total, done=progress.position.step), explain_lost_processes():
        train(run, progress, log, reporter, saver, stop, prepared.keep_best)


def _finish(prepared: Prepared, log: MetricsLog, reporter: Reporter, stop: StopRequest) -> Summary:
    """Evaluate a completed run, and write its last records."""
    run, progress = prepared.run, prepared.progress
    position, dataset = progress.position, run.dataset
    completed = finished(run, progress)
    early = progress.best.worse >= run.training.early_stop_patience > 0
    run.processes.mark(EVALUATES)
    evaluation = evaluate(run, progress, log, reporter) if completed and not early else None
    if progress.best.step == position.step and progress.checkpoints.newest:
        prepared.keep_best(progress.checkpoints.newest)
    if early:
        best = progress.best
        log.write("early_stop", position.step, best_step=best.step, best_loss=best.loss)
        reporter.say(
            f"The held-out loss was not lower in {best.worse} evaluations. The best checkpoint, of step {best.step} "
            f"(held-out loss {best.loss:.4f}), is kept, and is the one that other commands use."
        )
    if not completed:
        log.write("stopped", position.step, reason=stop.reason or "another process received a stop request")
    rate = statistics.median(progress.tokens_per_second) if progress.tokens_per_second else None
    mfu = run.utilization.mfu(rate / run.processes.count) if rate else None
    log.write("run_end", position.step, completed=completed, tokens_per_second=rate, mfu=mfu)
    return Summary(
        position=position,
        completed=completed,
        steps_taken=len(progress.tokens_per_second),
        evaluation=evaluation,
        tokens_per_second=rate,
        mfu=mfu,
        no_mfu=run.utilization.reason,
        unigram_entropy=dataset.unigram_entropy,
        bigram_entropy=dataset.bigram_entropy,
    )


def versions() -> dict[str, str]:
    """The versions of aios, Python and the packages that a run depends on."""
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
