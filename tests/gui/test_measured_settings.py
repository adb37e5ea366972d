"""What `aios optimize` has written is shown while it measures, and when it has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gui.measured_settings import measured_so_far, newest_results
from trainer.optimization.candidates import Candidate
from trainer.optimization.measurement import Measured
from trainer.optimization.race import ranked
from trainer.optimization.session import Session

FAST = Candidate(4, 2, None, None, "auto", False)
SMALL = Candidate(8, 1, 512, None, "sdpa", True)
CONFIG: dict[str, Any] = {"model": {}, "training": {}}


def session(folder: Path, *measured: Measured, ended: bool) -> Session:
    made = Session(folder, {"base": {}}, resume=False)
    for each in measured:
        made.add(each)
    if ended:
        made.finish(ranked(measured, 0.08), CONFIG)
    return made


def test_each_candidate_is_shown_once_it_is_measured(tmp_path: Path) -> None:
    assert measured_so_far(tmp_path / "none", 0.0) == []
    made = session(tmp_path, ended=False)
    assert measured_so_far(tmp_path, 0.0) == []
    made.add(Measured(FAST, (0.5, 0.25, 0.5), 1000, 3 << 20, backend="sdpa"))
    made.add(Measured(SMALL, oom=True, error="out of memory (host)"))
    assert measured_so_far(tmp_path, 0.0) == [
        ("4 x 2", "", "", "sdpa", "2,000", "3 MiB", ""),
        ("8", "512", "x", "", "", "", "out of memory (host)"),
    ]
    with made.measurements.open("a", encoding="utf-8") as file:
        file.write('{"measured": {"half of a')
    assert len(measured_so_far(tmp_path, 0.0)) == 2


def test_an_earlier_session_is_not_taken_for_the_one_that_runs(tmp_path: Path) -> None:
    made = session(tmp_path, Measured(FAST, (0.5,), 1000, 1, backend="sdpa"), ended=True)
    for path in (made.measurements, made.results):
        os.utime(path, (1000, 1000))
    assert measured_so_far(tmp_path, 2000.0) == [] and newest_results(tmp_path, 2000.0) is None
    assert len(measured_so_far(tmp_path, 1000.0)) == 1 and newest_results(tmp_path, 1000.0)


def test_the_results_name_the_winner_and_why_the_others_lost(tmp_path: Path) -> None:
    fast, slow = (Measured(FAST, (seconds,), 1000, 1 << 20, backend="sdpa") for seconds in (0.5, 1.0))
    made = session(tmp_path, slow, fast, ended=True)
    found = newest_results(tmp_path)
    assert found and found.recommended == made.recommended
    assert [(row[4], row[6]) for row in found.rows] == [("2,000", ""), ("1,000", "50% slower")]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"training": 3}'])
def test_damaged_results_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "results_20261201-000000.json").write_text(content, encoding="utf-8")
    (tmp_path / "gpu_metrics_20261201-000000.jsonl").write_text(f"{{}}\n{content}\n", encoding="utf-8")
    assert newest_results(tmp_path) is None and measured_so_far(tmp_path, 0.0) == []
