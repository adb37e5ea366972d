"""A run: its state, stop and resume, live curves, samples, events, and the output of its command."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from gui import jobs
from gui.charts import RunCharts
from gui.form import recorded_values, words
from gui.frame import Here, button, command_line, folded, heading, output, page, paragraph, row, tag
from gui.known_runs import STOP, State, may_show, remove_stop_file, state
from gui.open_folder import open_folder
from gui.operations import Command, command
from gui.record_follower import Follower
from gui.texts import Words
from gui.units import duration
from trainer.records.reading import moment

SECOND = 1.0
DRAWN_EVERY, STATE_EVERY = 2, 3  # ticks
MANY = 20_000  # records, above which the charts are redrawn less often
SHOWN = 5  # samples


class RunView:
    """The page of one run. Reads only what is new, once a second, and shows the page before the first reading has ended."""

    def __init__(self, here: Here, log: Path) -> None:
        self.here, self.log = here, log
        self.follower = Follower(log)
        self._ticks, self._asked_to_stop, self._output, self._drawn = 0, False, "", True
        self.state = state(self.follower)
        self._build()
        ui.timer(SECOND, self._tick)

    def _build(self) -> None:
        text = self.here.words
        with row():
            paragraph(f"{text('run.folder')}: {self.log.parent}", "dim")
            button(text("run.open"), self._on_open, quiet=True)
        self._sentence = paragraph("", "lead").props("role=status")
        self._figures = paragraph("", "dim")
        with row():
            self._stop = button(text("run.stop"), self._on_stop)
            self._resume = button(text("run.resume"), self._on_resume)
            chat = f"/chat?{urlencode({'checkpoint': str(self.log.parent)})}"
            self._chat = button(text("run.chat"), lambda: ui.navigate.to(chat), quiet=True)
        self._note = paragraph("", "warn")
        self._charts = RunCharts(self.follower, text)
        self._samples = ui.element("div").classes("plain")
        with folded(text("run.output"), opened=bool(self.state.job)):
            self._log = output("", text("run.output"))
        with folded(text("run.events")):
            self._events = output("", text("run.events"))
        self._command = ui.element("div")
        with self._command:
            if shown := self._started_by():
                heading(text("command"))
                command_line(self.here, shown)
        self._show_state()

    def _started_by(self) -> Command | None:
        return self.state.job.command if self.state.job else None

    def _read(self) -> bool:
        try:
            return self.follower.refresh()
        except OSError:
            return False

    async def _tick(self) -> None:
        new = await asyncio.to_thread(self._read)
        self._drawn = self._drawn and not new
        pause = DRAWN_EVERY if len(self.follower.curves["train", "loss"].x) < MANY else 5 * DRAWN_EVERY
        if not self._drawn and self._ticks % pause == 0:
            self._drawn = True
            self._show_records()
        if new or self._ticks % STATE_EVERY == 0:
            self.state = state(self.follower)
            self._show_state()
        self._ticks += 1

    def _show_records(self) -> None:
        self._charts.update()
        others = self.follower.others
        self._events.text = "\n".join(_event(each) for each in others if each["event"] != "sample")
        samples = [each for each in others if each["event"] == "sample"][-SHOWN:]
        self._samples.clear()
        if samples:
            with self._samples:
                heading(self.here.words("run.samples"))
                for each in reversed(samples):
                    paragraph(
                        self.here.words("run.sample", step=each["step"], prompt=each.get("prompt")), "dim"
                    )
                    tag("div", str(each.get("text")), "said")

    def _show_state(self) -> None:
        now = self.state
        running = now.is_running
        if not running:
            self._asked_to_stop = False
        self._sentence.text = sentence(self.here.words, now, self.follower)
        self._figures.text = figures(self.here.words, self.follower)
        self._stop.set_visibility(running)
        self._stop.text = self.here.words("run.stop_now" if self._asked_to_stop else "run.stop")
        self._resume.set_visibility(not running and self._resume_command() is not None)
        self._chat.set_visibility((self.log.parent / "checkpoints").is_dir())
        if now.job:
            shown = now.job.output
            if shown != self._output:
                self._output = shown
                self._log.text = shown

    def _on_stop(self) -> None:
        """The first click stops after the step, with a checkpoint; the second ends the process."""
        if self._asked_to_stop:
            if self.state.pid:
                jobs.kill(self.state.pid)
            return
        if stop := self._stop_file():
            stop.parent.mkdir(parents=True, exist_ok=True)
            stop.touch()
        elif os.name != "nt" and self.state.pid:
            os.kill(self.state.pid, signal.SIGINT)
        else:
            self._note.text = self.here.words("run.cannot_stop")
            return
        self._asked_to_stop = True
        self._stop.text = self.here.words("run.stop_now")
        ui.notify(self.here.words("run.stopping"))

    def _on_open(self) -> None:
        if not open_folder(self.log.parent):
            ui.notify(self.here.words("run.cannot_open", path=str(self.log.parent.absolute())))

    def _stop_file(self) -> Path | None:
        """The stop file of the run, from its records, or from the command that was started."""
        job = self.state.job
        if job and job.is_running:
            given = dict(pairwise(job.words)).get("--stop-file")
            return Path(job.place, given) if given else None
        value = _mapping(self._config(), "training").get("stop_file")
        return Path(str(value)) if value else None

    def _config(self) -> Mapping[str, Any]:
        run = self.follower.run
        return _mapping(run.start, "config") if run else {}

    def _resume_command(self) -> Command | None:
        """The command that continues the run; None if its records lie elsewhere than its configuration says."""
        if self.state.summary and self.state.summary.state == "finished":
            return None
        if self.state.job:
            given = [word for word in self.state.job.words if word != "--resume"]
            return command(*given, "--resume")
        values = recorded_values(self._config())
        folder = Path(str(values.get("output_dir", "artifacts/train")))
        if not values or folder.absolute() != self.log.parent.absolute():
            return None
        stop = () if "stop_file" in values else ("--stop-file", str(folder / STOP))
        return command("train", *words("", values), *stop, "--resume")

    def _on_resume(self) -> None:
        asked = self._resume_command()
        if asked is None:
            return
        remove_stop_file(asked)
        jobs.start(asked, str(self.log))
        self.state = state(self.follower)
        self._output = ""
        self._command.clear()
        with self._command:
            heading(self.here.words("command"))
            command_line(self.here, asked)
        self._show_state()


def sentence(text: Words, now: State, follower: Follower) -> str:
    """What a run is doing, or how it ended, and what killed it where that is known."""
    job, summary = now.job, now.summary
    if summary is None or _wrote_nothing(job, follower):
        if job is None or job.is_running:
            return text("run.starting")
        return text("run.ended") if job.status is None else text("run.failed", status=job.status)
    if now.is_running:
        if summary.steps is None:
            return text("run.endless", step=f"{summary.step:,}")
        left = _left(text, summary.steps - summary.step, follower)
        return text("run.running", step=f"{summary.step:,}", steps=f"{summary.steps:,}", left=left)
    if summary.state == "killed":
        status = job.status if job else None
        why = text("run.signal", signal=signal.Signals(-status).name) if status and status < 0 else ""
        return text("run.killed", step=f"{summary.step:,}", why=why)
    return text(f"run.{summary.state}", step=f"{summary.step:,}", reason=summary.reason or "")


def _wrote_nothing(job: jobs.Job | None, follower: Follower) -> bool:
    """Whether the command failed before its first record: those of the log are of an earlier run."""
    if job is None or job.is_running or job.status in (None, 0) or job.status < 0:
        return False
    newest = max((at for each in follower.others if (at := moment(each))), default=None)
    return newest is None or newest.timestamp() < job.born


def figures(text: Words, follower: Follower) -> str:
    """The newest loss, speed and backend."""
    last = follower.last
    if last is None:
        return ""
    loss, rate = last.get("loss"), last.get("tokens_per_second")
    return text(
        "run.figures",
        loss="?" if loss is None else f"{loss:.4f}",
        rate="?" if rate is None else f"{rate:,.0f}",
        backend=last.get("backend"),
    )


def _left(text: Words, steps: int, follower: Follower) -> str:
    """The time to the end, from the speed and the tokens of the newest steps."""
    last = follower.last
    rates = follower.curves["train", "tokens_per_second"].y[-50:]
    if not (last and rates and last.get("tokens") and steps > 0):
        return ""
    return text("run.left", time=duration(steps * last["tokens"] / max(1e-9, median(rates))))


def _event(record: Mapping[str, Any]) -> str:
    known = ("schema_version", "event", "ts", "step", "config")
    rest = ", ".join(f"{name}: {value}" for name, value in record.items() if name not in known)
    return f"{record.get('ts')}  step {record['step']}  {record['event']}  {rest[:300]}"


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


@page("/run", "runs")
def run(here: Here) -> None:
    log = Path(here.query.get("log", ""))
    heading(here.words("run.title"), 1)
    if may_show(log):
        RunView(here, log)
    else:
        paragraph(here.words("run.not_listed", path=str(log)), "warn")
