"""The files of a session: what was measured, as it is measured, and in the end the results and the recommended settings."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from doctor.bounded import parse_json, read_beginning, read_text
from doctor.files import append_line, write_atomically
from trainer.optimization.candidates import Candidate
from trainer.optimization.measurement import WARM_UP, Measured, place_in
from trainer.optimization.race import Result

SCHEMA_VERSION = 1
SESSION = re.compile(r"\d{8}-\d{6}")
KEPT = 3  # sessions
LONGEST_LINE = 1 << 20  # bytes of the first line, which holds the settings


class Session:
    """A session in a folder.

    Args:
        settings: what determines the measurements; a session continues only with the same.
        resume: continue the newest session with these settings that has no results yet.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder, self.settings = folder, settings
        folder.mkdir(parents=True, exist_ok=True)
        begun = self._begun() if resume else None
        self.id = begun or time.strftime("%Y%m%d-%H%M%S")
        self.known = self._read() if begun else []
        if not begun:
            self._append({"settings": settings})

    @property
    def measurements(self) -> Path:
        return self.folder / f"gpu_metrics_{self.id}.jsonl"

    @property
    def results(self) -> Path:
        return self.folder / f"results_{self.id}.json"

    @property
    def recommended(self) -> Path:
        return self.folder / f"recommended_{self.id}.yaml"

    @property
    def plot(self) -> Path:
        return self.folder / f"plot_{self.id}.png"

    def add(self, measured: Measured) -> None:
        """Write down a measurement, so that a session that is interrupted can continue."""
        self._append({"ts": time.time(), "measured": asdict(measured)})

    def _append(self, record: dict[str, Any]) -> None:
        append_line(self.measurements, json.dumps(record).encode())

    def finish(self, results: Sequence[Result], config: dict[str, Any]) -> None:
        """Write the results and the recommended configuration; delete all but the last sessions."""
        winner = results[0].measured if results and results[0].lost is None else None
        document = {
            "schema_version": SCHEMA_VERSION,
            "session_id": self.id,
            "config": self.settings,
            "training": {
                "success": winner is not None,
                "optimal_batch": winner and winner.candidate.batch_size,
                "max_throughput": winner and winner.tokens_per_second,
                "results": [_row(each) for each in results],
            },
            "recommendation": winner and winner.candidate.overrides(),
            "errors": [each.measured.error for each in results if each.measured.error],
        }
        write_atomically(self.results, (json.dumps(document, indent=2) + "\n").encode())
        if winner:
            place_in(config, winner.candidate.overrides())
            head = (
                f"# Recommended by aios optimize, session {self.id}: {winner.tokens_per_second:,.0f} tokens/s, peak memory "
                f"{winner.peak_memory / 2**20:,.0f} MiB.\n"
            )
            text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
            write_atomically(self.recommended, (head + text).encode())
        self._delete_old()

    def _begun(self) -> str | None:
        for path in sorted(self.folder.glob("gpu_metrics_*.jsonl"), reverse=True):
            number = path.stem.removeprefix("gpu_metrics_")
            if (self.folder / f"results_{number}.json").exists():
                continue
            first = read_beginning(path, LONGEST_LINE).decode("utf-8", "replace").split("\n", 1)[0]
            if first and parse_json(first).get("settings") == parse_json(json.dumps(self.settings)):
                return number
        return None

    def _read(self) -> list[Measured]:
        """What the session measured before; an incomplete last line is ignored."""
        lines = read_text(self.measurements).split("\n")[1:-1]
        found = [parse_json(line)["measured"] for line in lines]
        return [
            Measured(
                **{**each, "candidate": Candidate(**each["candidate"]), "seconds": tuple(each["seconds"])}
            )
            for each in found
        ]

    def _delete_old(self) -> None:
        numbers = (path.stem.removeprefix("gpu_metrics_") for path in self.folder.glob("gpu_metrics_*.jsonl"))
        for number in sorted(filter(SESSION.fullmatch, numbers))[:-KEPT]:
            for path in (self.measurements, self.results, self.recommended, self.plot):
                path.with_name(path.name.replace(self.id, number)).unlink(missing_ok=True)


def _row(result: Result) -> dict[str, Any]:
    measured = result.measured
    return {
        "batch_size": measured.candidate.batch_size,
        "gradient_accumulation_steps": measured.candidate.accumulation,
        "tokens_per_second": measured.tokens_per_second,
        "median_step_seconds": measured.median_seconds,
        "peak_memory_bytes": measured.peak_memory,
        "warmup_steps": WARM_UP,
        "backend": measured.backend or measured.candidate.backend,
        "window_size": measured.window_size,
        "chunk_size": measured.candidate.chunk_size,
        "gradient_checkpointing": measured.candidate.gradient_checkpointing,
        "success": measured.error is None,
        "oom": measured.oom,
        "error": measured.error,
        "lost": result.lost,
    }
