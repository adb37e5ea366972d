"""The parts of the pages that need no browser: the form, the follower, jobs, command lines, and what they may show or delete."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gui import jobs
from gui.form import ATTENTION, FIRST, KEYS, check, recorded_values, words
from gui.known_runs import delete, files_of, may_show, remember, remove_stop_file, state
from gui.operations import Command, command, event
from gui.record_follower import Follower
from gui.texts import Words
from tests.doctor.install.fresh_environment import tree_of
from trainer.config import load
from trainer.records import reading

ROOT = Path(__file__).parents[2]

run_page = pytest.importorskip("gui.pages.run", reason="the extra gui is not installed")
VALID: dict[str, str | bool] = {"name": "gpt2", "dataset_file": "text.txt"}


def run_start(**fields: Any) -> dict[str, Any]:
    return {"event": "run_start", "step": 0, "resumed_from": None, **fields}


def train(step: int, loss: float) -> dict[str, Any]:
    return {"event": "train", "step": step, "loss": loss, "lr": 0.1, "tokens": 8, "tokens_per_second": 4.0}


def written(log: Path, *records: dict[str, Any]) -> None:
    with log.open("a", encoding="utf-8") as file:
        for number, each in enumerate(records):
            file.write(
                json.dumps({"schema_version": 1, "ts": f"2026-12-01T00:00:{number:02}Z", **each}) + "\n"
            )


def points(follower: Follower) -> list[tuple[float, float]]:
    curve = follower.curves["train", "loss"]
    return list(zip(curve.x, curve.y, strict=True))


def test_the_follower_reads_what_is_new_and_half_a_line_later(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    written(log, run_start(), train(1, 5.0))
    follower = Follower(log)
    assert follower.refresh() and points(follower) == [(1, 5.0)] and not follower.refresh()
    half = json.dumps({"schema_version": 1, "ts": "", **train(2, 4.0)})
    with log.open("a", encoding="utf-8") as file:
        file.write(half[:20])
    follower.refresh()
    assert points(follower) == [(1, 5.0)]
    with log.open("a", encoding="utf-8") as file:
        file.write(half[20:] + "\n")
    follower.refresh()
    assert points(follower) == [(1, 5.0), (2, 4.0)]


def test_a_resumed_run_repeats_its_steps(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    written(log, run_start(), train(1, 5.0), train(2, 4.0), train(3, 3.0))
    follower = Follower(log)
    follower.refresh()
    written(log, run_start(step=1, resumed_from=1), train(2, 4.5))
    follower.refresh()
    assert points(follower) == [(1, 5.0), (2, 4.5)]


@pytest.mark.parametrize(
    "wrong", ["", "{", "null", "1,2", '{"event": "x", "step": 1},{"event": "x", "step": 1}', "\x00", "ü}"]
)
def test_a_line_that_is_no_record_costs_no_other_line(tmp_path: Path, wrong: str) -> None:
    log = tmp_path / "metrics.jsonl"
    written(log, run_start(), train(1, 5.0))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{wrong}\n")
    written(log, train(2, 4.0))
    follower = Follower(log)
    follower.refresh()
    assert points(follower) == [(1, 5.0), (2, 4.0)]
    assert [each["event"] for each in follower.others] == ["run_start"]


STEPS = st.lists(st.tuples(st.sampled_from(["train", "new", "resume"]), st.integers(0, 6)), max_size=25)


@given(STEPS, st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_the_follower_reads_what_the_reader_of_the_commands_reads(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]], piece: int
) -> None:
    """Read in pieces while it grows, the newest run has the points that `aios plot` draws."""
    log = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    written(log, run_start())
    follower = Follower(log)
    step = 0
    for number, (kind, where) in enumerate(events):
        if kind == "train":
            step += 1
            written(log, train(step, float(number)))
        elif kind == "new":
            step = 0
            written(log, run_start())
        else:
            step = min(step, where)
            written(log, run_start(step=step, resumed_from=step))
        if number % piece == 0:
            follower.refresh()
    follower.refresh()
    newest = reading.read(log)[-1]
    expected = [(each["step"], each["loss"]) for each in newest.records if each["event"] == "train"]
    assert points(follower) == expected


def test_a_log_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    written(log, run_start(), train(1, 5.0), train(2, 4.0))
    follower = Follower(log)
    follower.refresh()
    log.unlink()
    written(log, run_start(), train(1, 7.0))
    follower.refresh()
    assert points(follower) == [(1, 7.0)]


def test_every_key_of_the_configuration_is_a_field() -> None:
    assert {*FIRST, *ATTENTION} <= KEYS.keys() and all(key.help for key in KEYS.values())


def test_the_messages_are_those_of_the_command_line() -> None:
    found = check("", {**VALID, "window_size": "wide", "steps": "-1"})
    assert found.config is None and not found.general
    assert found.wrong["window_size"].startswith("model.window_size = 'wide': ")
    assert found.wrong["steps"].startswith("training.steps = '-1': ")
    assert "Set either model.name" in check("", {}).general[0]
    assert "load_in_4bit" in check("", {**VALID, "load_in_4bit": True}).wrong
    assert check("no such.yaml", VALID).general


def test_the_words_are_options_that_mean_the_same(tmp_path: Path) -> None:
    values: dict[str, str | bool] = {**VALID, "use_flash_attention": False, "window_size": "512", "amp": True}
    given_words = words("a config.yaml", values)
    assert given_words[:2] == ("--config", "a config.yaml")
    assert given_words[2:] == (
        *("--name", "gpt2", "--dataset-file", "text.txt", "--no-use-flash-attention"),
        *("--window-size", "512", "--amp"),
    )


def test_a_recorded_configuration_becomes_the_options_that_made_it() -> None:
    """A run that a terminal has started is resumed with the settings in its records."""
    made = load(
        None,
        {
            "architecture": '{"model_type": "gpt2", "n_layer": 1}',
            "tokenizer": "byte",
            "dataset_file": "ü text.txt",
            "window_pattern": "128,0",
            "full_layers": "0,-1",
            "window_size": None,
            "amp": "false",
            "learning_rate": "1e-5",
            "schedule": "constant",
        }
        | {"full_layers": "none"},
    )
    values = recorded_values(json.loads(made.model_dump_json()))
    assert load(None, values) == made


def test_a_command_line_can_be_pasted_into_a_shell() -> None:
    odd = command("train", "--dataset-file", "a b'$x.txt")
    assert odd.arguments[2:] == ["train", "--dataset-file", "a b'$x.txt"]
    if os.name != "nt":
        import shlex

        assert shlex.split(odd.shown)[-1] == "a b'$x.txt"


def test_a_line_that_is_no_event_is_none() -> None:
    assert event("nonsense") == {} and event("[1]") == {} and event('{"event": "x"}') == {"event": "x"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "aios home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def waiting(seconds: int, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command that waits; in place of aios, so that the test is quick."""
    program = f"import time; print('ä begun', flush=True); time.sleep({seconds})"
    monkeypatch.setattr(Command, "arguments", property(lambda self: [sys.executable, "-c", program]))
    return command("train", "--steps", "1")


def until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_is_found_again_with_its_output_and_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = jobs.start(waiting(600, monkeypatch), "artifacts/x/metrics.jsonl")
    until(lambda: "ä begun" in started.output)
    found = jobs.newest(Path("artifacts/x/metrics.jsonl"))
    assert found == started and found.is_running and found.words == ("train", "--steps", "1")
    found.kill()
    until(lambda: not started.is_running)
    if os.name != "nt":
        assert started.status == -signal.SIGKILL


def test_a_job_of_an_earlier_page_is_not_mistaken_for_another_process(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = jobs.start(waiting(600, monkeypatch), "x")
    child = jobs._children.pop(started.pid)
    assert started.is_running
    stranger = jobs.Job(**{**vars(started), "born": started.born - 1000})
    assert not stranger.is_running
    stranger.kill()
    assert started.is_running
    started.kill()
    child.wait()


def test_a_damaged_record_is_left_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = jobs.start(waiting(0, monkeypatch), "x")
    until(lambda: not started.is_running)
    (Path(started.folder) / jobs.RECORD).write_text('{"words": 3}', encoding="utf-8")
    assert jobs.jobs() == []


def test_a_start_that_fails_is_not_hidden_by_the_records_of_an_earlier_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = home / "artifacts" / "x" / "metrics.jsonl"
    log.parent.mkdir(parents=True)
    written(log, run_start(), {"event": "run_end", "step": 1, "completed": True})
    program = [sys.executable, "-c", "raise SystemExit(2)"]
    monkeypatch.setattr(Command, "arguments", property(lambda self: program))
    follower = Follower(log)
    follower.refresh()
    assert "Finished" in run_page.sentence(Words(), state(follower), follower)
    started = jobs.start(command("train"), str(log))
    until(lambda: not started.is_running)
    assert "exit status 2" in run_page.sentence(Words(), state(follower), follower)


def test_a_stop_file_of_a_start_that_failed_is_removed_and_no_other_file(tmp_path: Path) -> None:
    for name in ("stop", "mine"):
        (tmp_path / name).touch()
        remove_stop_file(command("train", "--stop-file", str(tmp_path / name)))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["../outside/metrics.jsonl", "inside/notes.txt", "/etc/passwd", ""])
def test_an_address_names_no_other_file(home: Path, name: str) -> None:
    inside = home / "inside"
    inside.mkdir()
    os.chdir(inside)
    assert not may_show(Path(name))
    assert may_show(Path("artifacts/x/metrics.jsonl"))


def test_a_listed_run_may_be_shown(home: Path) -> None:
    inside, outside = home / "inside", home / "outside" / "metrics.jsonl"
    inside.mkdir()
    os.chdir(inside)
    remember(str(outside))
    assert may_show(outside) and not may_show(outside.with_name("other.jsonl"))


def test_only_what_belongs_to_a_run_is_deleted(tmp_path: Path) -> None:
    """Not notes beside the run, in its checkpoints or in the folder of TensorBoard, nor a folder that is named like a checkpoint."""
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    checkpoint = run / "checkpoints" / "step-00000001"
    own = [
        "checkpoints/latest",
        "tensorboard/1/events.out.tfevents.9.x",
        "checkpoints/step-00000002.partial/config.json",
    ]
    own += [
        f"checkpoints/step-00000001/{name}"
        for name in ("state.json", "model.safetensors", "base/config.json")
    ]
    mine = [
        "mine.txt",
        "checkpoints/notes.txt",
        "checkpoints/step-00000001/notes.txt",
        "tensorboard/1/notes.txt",
    ]
    mine += [
        "checkpoints/step-00000003/config.json",
        "checkpoints/step-3 old/state.json",
        "checkpoints/mine.partial/x",
    ]
    for name in (*own, *mine):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}", encoding="utf-8")
    written(run / "metrics.jsonl", run_start())
    if os.name != "nt":
        shutil.copytree(checkpoint, elsewhere)
        (run / "checkpoints" / "step-00000004").symlink_to(elsewhere)
        (run / "metrics.png").symlink_to(elsewhere / "notes.txt")
        mine += ["checkpoints/step-00000004", "metrics.png"]
    before = tree_of(elsewhere)
    found = {each.relative_to(run).as_posix() for each in files_of(run / "metrics.jsonl")}
    assert found == {*own, "metrics.jsonl"}
    delete(run / "metrics.jsonl")
    left = {name for name in tree_of(run) if not name.endswith("/")}
    assert (left, tree_of(elsewhere)) == ({*mine}, before)


def test_the_folder_of_a_run_is_deleted_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}", encoding="utf-8")
    written(tmp_path / "run" / "metrics.jsonl", run_start())
    delete(tmp_path / "run" / "metrics.jsonl")
    assert not (tmp_path / "run").exists()


def test_the_shipped_configurations_fill_the_form() -> None:
    for file in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")):
        if "model" in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}):
            found = check(str(file), {"dataset_file": "text.txt"})
            assert not found.wrong, file.name


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_choice_can_show_every_value(config: Path) -> None:
    """window_size, a number that may also be `auto`, is no choice."""
    loaded = load(config, {})
    for key in KEYS.values():
        if key.choices and not key.is_three_way:
            assert key.initial(loaded) in {*key.choices, ""}, key.name
    assert KEYS["schedule"].choices and not KEYS["window_size"].choices and not KEYS["chunk_size"].choices
