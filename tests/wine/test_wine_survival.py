"""Training on Windows that is killed at any moment, and two runs in one folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.wine.windows_box import HERE, REPOSITORY, Aios, Windows

pytestmark = pytest.mark.wine

STEPS, KILLS = 66, 10

HOLDS = """
import sys
from pathlib import Path
from trainer.survival.lock import lock_run
with lock_run(Path(sys.argv[1]), Path(sys.argv[1]) / "metrics.jsonl"):
    import subprocess
    sys.exit(subprocess.run([sys.executable, "-m", "aios", *sys.argv[2:]]).returncode)
"""


@pytest.fixture
def train(windows: Windows, workplace: Path) -> Any:
    """Return a function that gives the arguments of a run of seconds with the output folder `workplace / NAME`."""
    text = workplace / "text für Zoë.txt"
    novel = REPOSITORY / "training_data" / "curated_datasets" / "test_sample.txt"
    text.write_bytes(novel.read_bytes()[:20_000])
    shape = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    settings = {
        "model": {"architecture": shape, "tokenizer": "byte", "attention_backend": "sdpa"},
        "data": {"dataset_file": windows.path(text), "max_length": 64},
        "training": {"steps": STEPS, "batch_size": 2, "lr": 1e-3, "checkpoint_every": 3, "eval_every": 0},
    }
    config = workplace / "tiny.yaml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")

    def arguments(name: str, *more: str) -> list[str]:
        return [
            "train",
            "--config",
            windows.path(config),
            "--output-dir",
            windows.path(workplace / name),
            *more,
        ]

    return arguments


def losses(folder: Path) -> dict[int, float]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {one["step"]: one["loss"] for one in map(json.loads, lines) if one["event"] == "train"}


@pytest.mark.long
def test_a_run_killed_ten_times_is_bit_equal_to_an_uninterrupted_one(
    aios: Aios, windows: Windows, workplace: Path, train: Any
) -> None:
    whole = aios(*train("whole"))
    assert whole.returncode == 0, whole.stderr
    killer = windows.path(HERE / "kill_again_and_again.py")
    out = windows.path(workplace / "killed ß")
    command = [
        "python",
        killer,
        out,
        str(STEPS),
        str(KILLS),
        "python",
        "-m",
        "aios",
        *train("killed ß", "--resume"),
    ]
    environment = {"AIOS_HOME": windows.path(workplace / "state")}
    done = windows.run(command, environment=environment)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert len(ended) == KILLS
    assert max(step for step, _ in ended) < STEPS
    assert sum(writing for _, writing in ended) >= 2, "some while a checkpoint was written"
    last = aios(*train("killed ß", "--resume"))
    assert last.returncode == 0, last.stderr
    assert losses(workplace / "killed ß") == losses(workplace / "whole")
    assert not [*(workplace / "killed ß" / "checkpoints").glob("*.partial")]


def test_a_second_run_in_a_folder_is_refused_and_the_other_process_is_named(
    windows: Windows, workplace: Path, train: Any
) -> None:
    script = workplace / "holds.py"
    script.write_text(HOLDS, encoding="utf-8")
    command = ["python", windows.path(script), windows.path(workplace / "out"), *train("out")]
    done: subprocess.CompletedProcess[bytes] = windows.run(
        command, environment={"AIOS_HOME": windows.path(workplace / "state")}
    )
    assert done.returncode == 2, done.stderr
    assert b"Another run is writing to " in done.stderr
    assert b": process " in done.stderr
    assert not (workplace / "out").exists(), "nothing is left of the lock"
