"""The status of runs, from their records."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from trainer.records.reading import Record, RecordedRun, moment, number

State = Literal["running", "finished", "stopped", "aborted", "killed"]


@dataclass(frozen=True)
class RunSummary:
    """The status of a run.

    Attributes:
        started: when the run was first started.
        model: the model's name, or its type if trained from scratch.
        step, steps: optimizer steps done, and in total; `steps` is None if the run continues until stopped.
        state: running; finished; stopped on request, with a checkpoint; aborted, with a recorded reason; or killed,
            without time to record a reason.
        reason: why the run was stopped or aborted.
        loss: of the newest train record, in nats per token.
        eval_loss, bits_per_byte: of the newest evaluation.
        tokens_per_second: median over steps.
        window_size: None without a window.
    """

    name: str
    log: str
    started: datetime | None
    model: str | None
    parameters: int | None
    step: int
    steps: int | None
    state: State
    reason: str | None
    loss: float | None
    eval_loss: float | None
    bits_per_byte: float | None
    tokens_per_second: float | None
    backend: str | None
    window_size: int | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "started": self.started and self.started.isoformat()}


def summarize(run: RecordedRun, at_work: bool) -> RunSummary:
    """Summarize the status of a run.

    Args:
        at_work: whether a process is running it now.
    """
    config = _mapping(run.start, "config")
    trained = run.events("train")
    newest = trained[-1] if trained else {}
    evaluated = run.events("eval")
    evaluation = evaluated[-1] if evaluated else {}
    endless = bool(_mapping(config, "data").get("iterate"))
    parameters, steps, window = (
        number(record, key)
        for record, key in (
            (run.start, "parameters"),
            (_mapping(config, "training"), "steps"),
            (newest, "window_size"),
        )
    )
    return RunSummary(
        name=run.name,
        log=str(run.log),
        started=moment(run.records[0]),
        model=_model(_mapping(config, "model")),
        parameters=None if parameters is None else int(parameters),
        step=max(record["step"] for record in run.records),
        steps=None if steps is None or endless else int(steps),
        state="running" if at_work else _state(run),
        reason=None if at_work else _reason(run),
        loss=number(newest, "loss"),
        eval_loss=number(evaluation, "loss"),
        bits_per_byte=number(evaluation, "bits_per_byte"),
        tokens_per_second=_rate(run, trained),
        backend=newest.get("backend"),
        window_size=None if window is None else int(window),
    )


def _mapping(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _model(settings: Record) -> str | None:
    if name := settings.get("name"):
        return Path(str(name)).name
    kind = _mapping(settings, "architecture").get("model_type")
    return None if kind is None else str(kind)


def _state(run: RecordedRun) -> State:
    events = {record["event"]: record for record in run.last_session}
    if end := events.get("run_end"):
        return "finished" if end.get("completed") else "stopped"
    return "aborted" if "stopped" in events else "killed"


def _reason(run: RecordedRun) -> str | None:
    reasons = [record.get("reason") for record in run.last_session if record["event"] == "stopped"]
    return str(reasons[-1]) if reasons else None


def _rate(run: RecordedRun, trained: list[Record]) -> float | None:
    """The rate that the run recorded at its end, else the median of its records."""
    ends = [number(record, "tokens_per_second") for record in run.events("run_end")]
    if ends and ends[-1] is not None:
        return ends[-1]
    rates = [rate for record in trained if (rate := number(record, "tokens_per_second")) is not None]
    return statistics.median(rates) if rates else None
