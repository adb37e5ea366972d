"""Random faults of the file system: a sample here, 10,000 by `python -m tests.faults.trials` (the marker `long`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.trials import COUNTS, REPOSITORY

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("gcc"), reason="a library in C that is preloaded"
)
SAMPLE = {"fix": 60, "install": 6, "train": 3, "export": 4}


def trials(area: str, count: int, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.trials", area, f"--count={count}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("area", SAMPLE)
def test_random_faults_lose_nothing(area: str, tmp_path: Path) -> None:
    done = trials(area, SAMPLE[area], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'"trials": {SAMPLE[area]}' in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("area", COUNTS)
def test_ten_thousand_random_faults_lose_nothing(area: str, tmp_path: Path) -> None:
    done = trials(area, COUNTS[area], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["killed", "ENOSPC"])
def test_the_library_fails_the_call_that_it_is_told(kind: str, tmp_path: Path) -> None:
    """A program that writes five files, told by its environment to fail at the third."""
    from tests.faults.preload import ERRORS, build

    code = "for n in range(5): open(f'{n}', 'w').close()"
    variables = {
        **os.environ,
        "LD_PRELOAD": str(build(tmp_path)),
        "AIOS_FAULT": f"3 {ERRORS[kind]} 0",
        "AIOS_FAULT_IN": "for n in range",
    }
    (tmp_path / "there").mkdir()
    done = subprocess.run(
        [sys.executable, "-Bc", code], cwd=tmp_path / "there", env=variables, capture_output=True
    )
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["0", "1"]
    assert done.returncode == (-9 if kind == "killed" else 1)
