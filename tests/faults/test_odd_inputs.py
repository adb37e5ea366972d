"""Odd inputs lose nothing and get a clear answer: a sample of each kind here, all of them with the marker `long`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.faults.odd_inputs.rows import ROWS
from tests.faults.trials import REPOSITORY

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the commands are forked")
SEED = 20261201


def tried(count: int, *rows: str) -> subprocess.CompletedProcess[str]:
    script = REPOSITORY / "scripts" / "make_reliability_table.py"
    command = [sys.executable, str(script), *rows, f"--seed={SEED}", f"--count={count}"]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_a_sample_of_odd_inputs_gets_clear_answers_and_loses_nothing() -> None:
    done = tried(2, *ROWS)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    assert done.stdout.count("'lost': 0, 'unclear': 0") == len(ROWS)


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS)
def test_every_odd_input_gets_a_clear_answer_and_loses_nothing(row: str) -> None:
    done = tried(0, row)
    assert done.returncode == 0, done.stderr + done.stdout
