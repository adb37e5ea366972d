"""Measures one candidate: `aios train` with its settings in a child process, whose records are read as it writes them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from doctor.bounded import parse_json, read_bytes, read_text
from trainer.config import each_key
from trainer.optimization.candidates import Candidate

COMMAND = (sys.executable, "-X", "utf8", "-m", "aios", "train")
WARM_UP = 1  # steps that are not counted: they load kernels
FEWEST_STEPS = 3  # that are counted, if the candidate is not given up
POLL = 0.05  # seconds
# Settings of a run that is only measured
QUIET: dict[str, dict[str, Any]] = {
    "data": {"eval_fraction": 0.0, "eval_file": None, "iterate": True},
    "training": {"steps": 1, "eval_every": 0, "checkpoint_every": 0, "log_every": 1, "stop_file": None},
    "output": {"tensorboard": False, "log_file": None},
}
KILLED = "killed by the system, as when memory runs out"


@dataclass(frozen=True)
class Measured:
    """What was measured. `error` says why it cannot be used; None if it can.

    Attributes:
        seconds: of each counted step.
        tokens: valid tokens in a step.
        peak_memory: bytes.
        available: bytes of the device that were free before the run, with those that the run used already.
        oom: it ran out of memory.
        given_up: it was stopped early, because it was slower than another one.
        wall_seconds: of the child, with its start.
    """

    candidate: Candidate
    seconds: tuple[float, ...] = ()
    tokens: int = 0
    peak_memory: int = 0
    available: int = 0
    backend: str = ""
    window_size: int | None = None
    oom: bool = False
    given_up: bool = False
    error: str | None = None
    wall_seconds: float = field(default=0.0, compare=False)

    @property
    def median_seconds(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.median_seconds if self.median_seconds else 0.0


def measure(
    candidate: Candidate,
    base: dict[str, Any],
    folder: Path,
    duration: float,
    give_up: Callable[[Measured], bool],
) -> Measured:
    """Train with a candidate until its counted steps took `duration` seconds.

    Args:
        base: the configuration, by section.
        folder: for the run; its content is worthless afterwards.
        give_up: whether a candidate need not be measured longer, asked after each step.
    """
    config = folder / "config.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump(_configuration(candidate, base, folder)), encoding="utf-8", newline="\n")
    began = time.monotonic()
    errors = folder / "stderr.txt"
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            [*COMMAND, "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        try:
            found = _watch(child, candidate, folder / "metrics.jsonl", duration, give_up)
        finally:
            child.kill()  # it has no state worth saving
            child.wait()
    if found.error == "":
        found = _with_error(found, child.returncode, read_text(errors, errors="replace"))
    return replace(found, wall_seconds=time.monotonic() - began)


def _watch(
    child: subprocess.Popen[bytes],
    candidate: Candidate,
    log: Path,
    duration: float,
    give_up: Callable[[Measured], bool],
) -> Measured:
    """Read records until there are enough. An empty `error` says that the child has ended."""
    found, read, steps = Measured(candidate), 0, 0
    while True:
        ended = child.poll() is not None
        lines = read_bytes(log).splitlines(keepends=True) if log.exists() else []
        complete = [line for line in lines if line.endswith(b"\n")]
        for record in map(parse_json, complete[read:]):
            if record["event"] == "run_start":
                memory = record["memory"]
                found = replace(found, available=memory["free"] + memory["used"])
            if record["event"] == "oom":
                return replace(found, oom=True, error=f"out of memory ({record['error']})")
            if record["event"] != "train":
                continue
            steps += 1
            found = replace(found, peak_memory=max(found.peak_memory, record["peak_memory_bytes"]))
            if steps <= WARM_UP:
                continue
            found = replace(
                found,
                seconds=(*found.seconds, record["step_seconds"]),
                tokens=record["tokens"],
                backend=record["backend"],
                window_size=record["window_size"],
            )
            if sum(found.seconds) >= duration and len(found.seconds) >= FEWEST_STEPS:
                return found
            if give_up(found):
                return replace(found, given_up=True)
        read = len(complete)
        if ended:
            return replace(found, error="")
        time.sleep(POLL)


def _with_error(found: Measured, status: int, text: str) -> Measured:
    """A candidate whose child has ended by itself."""
    if status < 0:
        return replace(
            found,
            oom=status == -9,
            error=f"{KILLED} (signal {-status})" if status == -9 else f"signal {-status}",
        )
    messages = [line.removeprefix("Error: ") for line in text.splitlines() if line.startswith("Error: ")]
    last = text.strip().splitlines()[-1:] or [f"status {status}"]
    message = (messages or last)[0]
    return replace(found, oom="memory" in message, error=message)


def _configuration(candidate: Candidate, base: dict[str, Any], folder: Path) -> dict[str, Any]:
    merged = {section: {**base.get(section, {}), **QUIET.get(section, {})} for section in {**base, **QUIET}}
    merged["output"] |= {"output_dir": str(folder / "run"), "log_file": str(folder / "metrics.jsonl")}
    place_in(merged, candidate.overrides())
    return merged


def place_in(config: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Set keys of a configuration by section, wherever they belong."""
    sections = {key: section for section, key, _ in each_key()}
    for key, value in overrides.items():
        config.setdefault(sections[key], {})[key] = value
    if "attention_backend" in overrides:
        config["model"].pop("use_flash_attention", None)
