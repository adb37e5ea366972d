"""The runs that the page may show: those below the current folder, and those that it started or listed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gui import jobs
from gui.operations import Command
from gui.record_follower import Follower
from trainer.records.runs import RunSummary, summarize
from trainer.survival import own_checkpoints
from trainer.survival.lock import is_locked, writer

CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
STOP = "stop"  # the stop file that the page adds to a command, in the run's folder
_listed: set[Path] = set()


def remember(log: str) -> None:
    """Let the page show a run that `aios runs` has listed."""
    _listed.add(Path(log).resolve())


def may_show(log: Path) -> bool:
    """Whether the page may read a file that an address names."""
    found = log.resolve()
    if found.suffix != ".jsonl":
        return False
    started = {job.result_path.resolve() for job in jobs.jobs()}
    return found in _listed or found in started or found.is_relative_to(Path.cwd().resolve())


@dataclass(frozen=True)
class State:
    """What a run is doing.

    Attributes:
        job: the command that the page started it with, if it did.
        summary: None before its first record.
        pid: of the process that writes the records; None if there is none, or it is not known.
    """

    job: jobs.Job | None
    summary: RunSummary | None
    pid: int | None

    @property
    def is_running(self) -> bool:
        return bool(self.job and self.job.is_running) or bool(
            self.summary and self.summary.state == "running"
        )


def state(follower: Follower) -> State:
    """The state of the run that a follower reads."""
    job = jobs.newest(follower.log)
    at_work = job is not None and job.is_running
    pid = job.pid if job and at_work else None
    if not at_work and is_locked(follower.log):
        at_work, pid = True, writer(follower.log)
    run = follower.run
    return State(job, summarize(run, at_work) if run else None, pid)


def remove_stop_file(asked: Command) -> None:
    """Delete a stop file that a start which failed has left: it would stop the next one at its first step."""
    given = dict(pairwise(asked.words)).get("--stop-file")
    if given and Path(given).name == STOP and Path(given).is_file():
        Path(given).unlink()


def files_of(log: Path) -> list[Path]:
    """What belongs to a run: the files of its checkpoints and records. Other files, and links, are not touched."""
    folder = log.parent
    drawn = [file for file in (folder / TENSORBOARD).glob("**/events.out.tfevents.*") if file.is_file()]
    records = [file for file in (log, folder / "metrics.png") if file.is_file() and not file.is_symlink()]
    return [*own_checkpoints.files_in(folder / CHECKPOINTS), *drawn, *records]


def delete(log: Path) -> None:
    """Delete what belongs to a run, and its folders if nothing else is in them. Raises OSError."""
    files = files_of(log)
    own_checkpoints.delete_files(files, log.parent)
    if left := [file for file in files if file.exists()]:
        raise OSError(f"{left[0]} could not be deleted")
