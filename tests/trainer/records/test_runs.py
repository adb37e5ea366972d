"""`aios runs`: the runs in log files, and their status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from trainer.errors import UserError
from trainer.records import reading as records
from trainer.records.runs import summarize
from trainer.survival.lock import lock_run

ROOT = Path(__file__).parents[3]
Call = Callable[..., Result]

CONFIG = {
    "model": {"name": None, "architecture": {"model_type": "gpt2"}, "tokenizer": "byte"},
    "data": {"iterate": False},
    "training": {"steps": 4},
}


def line(event: str, step: int, **fields: Any) -> str:
    second = fields.pop("second", step)
    ts = f"2026-11-21T12:00:{second:02}.000Z"
    return json.dumps({"schema_version": 1, "event": event, "ts": ts, "step": step, **fields}) + "\n"


def start(resumed_from: int | None = None, **config: Any) -> str:
    fields = {"resumed_from": resumed_from, "config": CONFIG | config, "parameters": 124_439_808}
    return line("run_start", resumed_from or 0, **fields)


def train(*steps: int, rate: float = 100.0, loss: float | None = None) -> str:
    figures = {"tokens_per_second": rate, "tokens": 64, "backend": "sdpa", "window_size": 32}
    return "".join(line("train", step, loss=loss or 5 - step / 2, **figures) for step in steps)


END = line("eval", 4, loss=2.5, bits_per_byte=3.6) + line(
    "run_end", 4, completed=True, tokens_per_second=123.4
)
STOPPED = line("stopped", 2, reason="asked to stop") + line("run_end", 2, completed=False)


def log(folder: Path, *content: str, name: str = "metrics.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(content), encoding="utf-8", newline="\n")
    return folder / name


def steps(run: records.RecordedRun) -> list[int]:
    return [record["step"] for record in run.events("train")]


@pytest.mark.parametrize(
    ("content", "state", "step", "reason"),
    [
        ((start(), train(1, 2, 3, 4), END), "finished", 4, None),
        ((start(), train(1, 2), STOPPED), "stopped", 2, "asked to stop"),
        ((start(), train(1, 2), line("stopped", 2, reason="disk full")), "aborted", 2, "disk full"),
        ((start(), train(1, 2)), "killed", 2, None),
        ((start(),), "killed", 0, None),
        ((start(), train(1, 2), STOPPED, start(2), train(3, 4), END), "finished", 4, None),
        ((start(), train(1, 2), STOPPED, start(2), train(3)), "killed", 3, None),
        ((start(), train(1, 2), '{"event": "run_end", "st'), "killed", 2, None),
    ],
)
def test_the_status_of_a_run(
    tmp_path: Path, content: tuple[str, ...], state: str, step: int, reason: str | None
) -> None:
    (run,) = records.read(log(tmp_path, *content))
    summary = summarize(run, at_work=False)
    assert (summary.state, summary.step, summary.steps, summary.reason) == (state, step, 4, reason)
    assert summarize(run, at_work=True).state == "running"


def test_the_figures_of_a_run_are_those_in_its_log(tmp_path: Path) -> None:
    (run,) = records.read(log(tmp_path, start(), train(1, 2, 3, 4), END))
    found = summarize(run, at_work=False).to_json()
    assert found.pop("started") == "2026-11-21T12:00:00+00:00"
    assert found == {
        **{"name": str(tmp_path), "log": str(tmp_path / "metrics.jsonl"), "model": "gpt2"},
        **{
            "parameters": 124_439_808,
            "step": 4,
            "steps": 4,
            "state": "finished",
            "reason": None,
            "loss": 3.0,
        },
        **{"eval_loss": 2.5, "bits_per_byte": 3.6, "tokens_per_second": 123.4, "backend": "sdpa"},
        "window_size": 32,
    }


def test_a_killed_run_has_the_rate_of_its_median_step(tmp_path: Path) -> None:
    content = (start(), train(1, rate=1.0), train(2, rate=90.0), train(3, rate=110.0))
    (run,) = records.read(log(tmp_path, *content))
    assert summarize(run, at_work=False).tokens_per_second == 90.0


def test_repeated_steps_count_once(tmp_path: Path) -> None:
    again = start(2) + train(3, 4, loss=9.0)
    (run,) = records.read(log(tmp_path, start(), train(1, 2, 3), again))
    assert steps(run) == [1, 2, 3, 4]
    assert [record["loss"] for record in run.events("train")] == [4.5, 4.0, 9.0, 9.0]


def test_several_runs_in_one_log_are_several_runs(tmp_path: Path) -> None:
    found = records.read(log(tmp_path, start(), train(1, 2), start(), train(1), start(1), train(2)))
    assert [steps(run) for run in found] == [[1, 2], [1, 2]]
    assert [run.name for run in found] == [f"{tmp_path} #1", f"{tmp_path} #2"]


def test_lines_from_other_programs_are_skipped(tmp_path: Path) -> None:
    foreign = 'a note\n[1]\n{"event": 3, "step": 1}\n{"event": "train"}\n\n\udcff'.encode(
        errors="surrogateescape"
    )
    path = log(tmp_path)
    path.write_bytes(foreign + b"\n" + start().encode() + foreign + b"\n" + train(1, 2).encode())
    (run,) = records.read(path)
    assert steps(run) == [1, 2]


@given(cut=st.integers(0, 1200), junk=st.binary(max_size=40))
def test_a_truncated_or_overwritten_log_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes((start() + train(1, 2, 3)).encode()[:cut] + junk)
    for run in records.read(path):
        assert summarize(run, at_work=False).state == "killed"
        assert steps(run) == [1, 2, 3][: len(steps(run))]


@pytest.mark.parametrize("value", ["x", True, None, [1], {"a": 1}])
def test_fields_of_the_wrong_type_are_ignored(tmp_path: Path, value: Any) -> None:
    odd = dict.fromkeys(("loss", "tokens_per_second", "window_size"), value)
    content = (start(training=value, model=value), line("train", 1, **odd))
    (run,) = records.read(log(tmp_path, *content))
    summary = summarize(run, at_work=False)
    assert (summary.loss, summary.tokens_per_second, summary.window_size, summary.steps) == (None,) * 4


def test_every_run_below_a_folder_is_listed_and_data_sets_are_not(call: Call, tmp_path: Path) -> None:
    log(tmp_path / "a", start(), train(1, 2, 3, 4), END)
    log(tmp_path / "größer 漢字" / "b", start(), train(1), name="my log.jsonl")
    log(tmp_path, '{"text": "no run"}\n', name="data.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    result = call("runs", tmp_path)
    assert result.exit_code == 0, result.output
    shown = result.stdout.splitlines()
    assert [row.split()[-1] for row in shown if str(tmp_path) in row] == ["sdpa", "sdpa"]
    for words in ("größer 漢字", "my log.jsonl", "124M", "4/4", "finished", "killed", "3.600", "123"):
        assert words in result.stdout
    assert "data.jsonl" not in result.stdout

    document = json.loads(call("runs", tmp_path, "--json").stdout)
    assert document["schema_version"] == 1
    assert sorted(run["state"] for run in document["runs"]) == ["finished", "killed"]


def test_the_reason_of_an_aborted_run_is_shown(call: Call, tmp_path: Path) -> None:
    log(tmp_path, start(), line("stopped", 1, reason="[bold]not finite[/bold]"))
    assert f"{tmp_path}: [bold]not finite[/bold]" in call("runs", tmp_path).stdout


def test_a_run_is_running_while_it_holds_the_lock_of_its_log(call: Call, tmp_path: Path) -> None:
    path = log(tmp_path, start(), train(1, 2), start(), train(1))

    def states() -> list[str]:
        shown = json.loads(call("runs", tmp_path, "--json").stdout)["runs"]
        return [run["state"] for run in sorted(shown, key=lambda run: str(run["name"]))]

    with lock_run(tmp_path, path):
        assert states() == ["killed", "running"]
    assert states() == ["killed", "killed"]
    for left_by_a_kill in ("metrics.jsonl.lock", "metrics.jsonl.holder"):
        (tmp_path / left_by_a_kill).touch()
    assert states() == ["killed", "killed"]


@pytest.mark.parametrize(("path", "words"), [("none", "does not exist"), ("empty", "No runs found")])
def test_an_empty_list_is_explained(call: Call, tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    result = call("runs", tmp_path / path)
    assert result.exit_code == 2
    assert words in result.stderr
    with pytest.raises(UserError, match=words):
        records.find(tmp_path / path)


def test_the_list_can_be_printed_in_a_pipe_without_unicode(tmp_path: Path) -> None:
    log(tmp_path / "a run 漢字", start(), train(1, 2, 3, 4), END)
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, str(ROOT / "aios.py"), "runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "run \\u6f22\\u5b57" in done.stdout.decode("cp1252")


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys, trainer.commands.records; assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr.decode()
