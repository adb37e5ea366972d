"""What `aios optimize` has measured: the candidates of a session that is going on, and the results of one that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from doctor.bounded import parse_json, read_text

COLUMNS = ("batch_size", "chunk_size", "checkpointing", "backend", "speed", "memory", "lost")
CLOCK = 2.0  # seconds by which the times of files and of processes may differ

Row = tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """A session that has ended.

    Attributes:
        candidates: the results as the session has written them, the best first.
        recommended: the configuration; None if there is no candidate to recommend.
    """

    candidates: tuple[Mapping[str, Any], ...]
    recommended: Path | None

    @property
    def rows(self) -> list[Row]:
        """The table, by COLUMNS."""
        return [_row(each, each["backend"], each["lost"] or each["error"]) for each in self.candidates]


def measured_so_far(folder: Path, begun: float) -> list[Row]:
    """The table of the candidates that the session in a folder has measured since a time, by COLUMNS."""
    files = sorted(folder.glob("gpu_metrics_*.jsonl"))
    try:
        if not files or files[-1].stat().st_mtime < begun - CLOCK:
            return []
        lines = read_text(files[-1], errors="replace").split("\n")[1:-1]  # the first has the settings
        return [_measured(parse_json(line)["measured"]) for line in lines]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def newest_results(folder: Path, begun: float = 0.0) -> Results | None:
    """The results of the newest session in a folder; None if none has ended since a time."""
    files = sorted(folder.glob("results_*.json"))
    try:
        if not files or files[-1].stat().st_mtime < begun - CLOCK:
            return None
        found = parse_json(read_text(files[-1]))["training"]["results"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    recommended = files[-1].with_name(files[-1].name.replace("results_", "recommended_")).with_suffix(".yaml")
    return Results(tuple(found), recommended if recommended.is_file() else None)


def _measured(record: Mapping[str, Any]) -> Row:
    candidate, seconds = record["candidate"], record["seconds"]
    flat = {
        **candidate,
        "gradient_accumulation_steps": candidate["accumulation"],
        "tokens_per_second": record["tokens"] / median(seconds) if seconds else 0.0,
        "peak_memory_bytes": record["peak_memory"],
    }
    return _row(flat, record["backend"], record["error"])


def _row(result: Mapping[str, Any], backend: str | None, why_not: str | None) -> Row:
    accumulation = result["gradient_accumulation_steps"]
    speed, memory = result["tokens_per_second"], result["peak_memory_bytes"]
    return (
        f"{result['batch_size']} x {accumulation}" if accumulation != 1 else str(result["batch_size"]),
        str(result["chunk_size"] or ""),
        "x" if result["gradient_checkpointing"] else "",
        str(backend or ""),
        f"{speed:,.0f}" if speed else "",
        f"{memory / 2**20:,.0f} MiB" if memory else "",
        str(why_not or ""),
    )
