"""Training on Windows: the backend that the doctor proved there, records, and a run that is killed and resumed."""

from __future__ import annotations

import json
import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.wine.windows_box import HERE, REPOSITORY, Aios, Completed, Windows

pytestmark = pytest.mark.wine

BACKENDS = ["--only", "backend-*"]
Arguments = Callable[..., list[str]]
KILLED_AFTER = 8  # records
STEPS = 12


class Trained(NamedTuple):
    """How `aios train` ended, and its folder."""

    done: Completed
    folder: Path


@pytest.fixture(scope="module")
def proven(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capability file that the doctor writes on this Windows."""
    file = tmp_path_factory.mktemp("proven") / "capability.json"
    command = ["python", "-m", "aios", "doctor", *BACKENDS, "--capability-file", windows.path(file)]
    done = windows.run(command, environment={"AIOS_HOME": windows.path(file.parent)})
    assert done.returncode == 0, done.stdout
    return file


@pytest.fixture
def capability(workplace: Path, proven: Path) -> Path:
    """A copy of the capability file, where aios looks for it."""
    file = workplace / "state" / "capability.json"
    file.parent.mkdir()
    shutil.copy(proven, file)
    return file


@pytest.fixture(scope="module")
def trained(windows: Windows, proven: Path) -> Iterator[Trained]:
    """A finished run, shared by the tests that only read it."""
    folder = windows.user_folder() / f"aios trained {uuid.uuid4().hex[:8]}"
    (folder / "state").mkdir(parents=True)
    shutil.copy(proven, folder / "state" / "capability.json")
    command = ["python", "-m", "aios", *tiny(windows, folder)("run")]
    state = {"AIOS_HOME": windows.path(folder / "state")}
    yield Trained(windows.run(command, environment=state), folder / "run")
    shutil.rmtree(folder)


@pytest.fixture
def train(windows: Windows, workplace: Path) -> Arguments:
    """A function that gives the arguments of a run of seconds with the output folder `workplace / NAME`."""
    return tiny(windows, workplace)


def tiny(windows: Windows, workplace: Path) -> Arguments:
    """Return a function that gives the arguments of such a run, and write its files to this folder."""
    text = workplace / "text für Zoë.txt"
    novel = REPOSITORY / "training_data" / "curated_datasets" / "test_sample.txt"
    text.write_bytes(novel.read_bytes()[:20_000])
    settings = {
        "model": {
            "architecture": {
                "model_type": "gpt2",
                "n_layer": 2,
                "n_head": 2,
                "n_embd": 32,
                "n_positions": 64,
            },
            "tokenizer": "byte",
            "window_size": 16,
        },
        "data": {"dataset_file": windows.path(text), "max_length": 64},
        "training": {"steps": STEPS, "batch_size": 2, "lr": 1e-3, "checkpoint_every": 3},
    }
    config = workplace / "tiny.yaml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")

    def arguments(name: str, *more: str) -> list[str]:
        output = windows.path(workplace / name)
        return ["train", "--config", windows.path(config), "--output-dir", output, *more]

    return arguments


def records(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(folder: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records(folder) if record["event"] == "train"}


def test_auto_chooses_a_proven_backend_and_gives_the_reasons_against_the_others(
    trained: Trained, proven: Path
) -> None:
    done, folder = trained
    assert done.returncode == 0, done.stderr
    assert b"capability" not in done.stdout + done.stderr, "the doctor's file is used unchanged"
    start = records(folder)[0]
    written = json.loads(proven.read_text(encoding="utf-8"))
    assert start["capability_fingerprint"] == written["fingerprint"]
    assert written["fingerprint"]["platform"].startswith("win")
    assert start["attention"]["backend"] == "sdpa"
    rejections = {one["backend"]: one["reasons"] for one in start["attention"]["rejections"]}
    assert list(rejections) == ["flash_attn_2", "flash_attn_4", "hub_kernels", "xformers"]
    assert all(reasons and all(reasons) for reasons in rejections.values())

    learned = losses(folder)
    assert len(learned) == STEPS
    assert learned[1] == pytest.approx(math.log(256), abs=0.5)
    assert learned[STEPS] < learned[1]


def test_a_sample_survives_the_pipe_s_code_page(
    aios: Aios, windows: Windows, capability: Path, trained: Trained
) -> None:
    arguments = [
        "--checkpoint",
        windows.path(trained.folder),
        "--prompt",
        "It is",
        "--max-new-tokens",
        "40",
    ]
    done = aios("generate", *arguments, code_page=1251)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("cp1251").startswith("It is")


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["missing", "damaged", "stale"])
def test_an_invalid_capability_file_gives_a_one_line_warning(
    aios: Aios, workplace: Path, capability: Path, train: Arguments, trouble: str
) -> None:
    if trouble == "missing":
        capability.unlink()
    elif trouble == "damaged":
        capability.write_bytes(capability.read_bytes()[:100])
    else:
        written = json.loads(capability.read_text(encoding="utf-8"))
        written["fingerprint"]["torch"] = "1.0"
        capability.write_text(json.dumps(written), encoding="utf-8")
    done = aios(*train("run", "--steps", "2"))
    assert done.returncode == 0, done.stderr
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if b"capability file" in line]
    assert len(about_it) == 1
    assert records(workplace / "run")[0]["attention"]["backend"] == "sdpa"
    assert json.loads(capability.read_text(encoding="utf-8"))["fingerprint"]["torch"].startswith("2."), (
        "the backends were proven again"
    )


def test_a_killed_run_is_resumed_bit_equal(
    aios: Aios, windows: Windows, workplace: Path, capability: Path, train: Arguments, trained: Trained
) -> None:
    log = workplace / "killed" / "metrics.jsonl"
    killer = windows.path(HERE / "kill_when_written.py")
    command = [
        "python",
        killer,
        windows.path(log),
        str(KILLED_AFTER),
        "python",
        "-m",
        "aios",
        *train("killed"),
    ]
    killed = windows.run(command, environment={"AIOS_HOME": windows.path(workplace / "state")})
    assert killed.returncode == 0, "the run was killed"
    assert max(losses(workplace / "killed")) < STEPS
    assert aios(*train("killed", "--resume")).returncode == 0
    assert losses(workplace / "killed") == losses(trained.folder)


def test_invalid_input_ends_with_status_2_and_is_named(
    aios: Aios, windows: Windows, workplace: Path, train: Arguments
) -> None:
    unknown = workplace / "unknown.yaml"
    unknown.write_text("training:\n  stepz: 1\n", encoding="utf-8")
    calls = {
        b"stepz": ["train", "--config", windows.path(unknown)],
        b"nowhere": train("run", "--dataset-file", windows.path(workplace / "nowhere.txt")),
        b"window": train("run", "--window-size", "-1"),
    }
    for named, arguments in calls.items():
        done = aios(*arguments)
        assert done.returncode == 2
        assert named in done.stderr
        assert b"Traceback" not in done.stderr
