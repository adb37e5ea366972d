"""The decisions of the quickstart. Its steps have tests of their own, and `.ci/run` runs it completely."""

from __future__ import annotations

import sys
from pathlib import Path

import environment
import pytest
import quickstart
from environment import Environment


class Machine:
    """Records the preparations and `aios` commands; `statuses` are the exit statuses that are not 0."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.calls: list[str] = []
        self.statuses = {"doctor": 1}

    def prepare(self, extra: str = "") -> None:
        self.calls.append(f"prepare {extra}".strip())

    def run(self, *command: str) -> int:
        assert command[:3] == ("-I", "-m", "aios")
        name, *options = command[3:]
        self.calls.append(" ".join([name, *options] if name == "install" else [name]))
        return self.statuses.get(name, 0)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without a GPU, with a trained model in the repository."""
    pretended = Machine(tmp_path)
    monkeypatch.setattr(sys, "argv", ["quickstart.py"])
    monkeypatch.setattr(quickstart, "REPOSITORY", tmp_path)
    monkeypatch.setattr(quickstart, "has_gpu", lambda: False)
    monkeypatch.setattr(Environment, "prepare", pretended.prepare)
    monkeypatch.setattr(Environment, "run", pretended.run)
    (tmp_path / quickstart.RESULT / "checkpoints").mkdir(parents=True)
    return pretended


def test_findings_of_the_doctor_do_not_stop_it(machine: Machine) -> None:
    assert quickstart.main() == 0
    assert machine.calls == ["prepare train", "doctor", "train", "generate"]
    assert (machine.repository / quickstart.RESULT / "checkpoints").exists(), "a second run keeps the model"


def test_again_trains_from_the_start_despite_old_checkpoints(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "--again"])
    assert quickstart.main() == 0
    assert machine.calls == ["prepare train", "doctor", "train", "generate"]
    assert not (machine.repository / quickstart.RESULT).exists()


def test_a_failed_training_ends_it(machine: Machine) -> None:
    machine.statuses["train"] = 2
    assert quickstart.main() == 2


def test_with_a_gpu_the_installer_chooses_torch_before_pip_can(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "has_gpu", lambda: True)
    assert quickstart.main() == 0
    assert machine.calls == ["prepare", "install --yes", "prepare train", "doctor", "train", "generate"]


def test_with_a_gpu_that_gets_no_packages_nothing_is_trained_on_the_processor(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "has_gpu", lambda: True)
    machine.statuses["install"] = 4
    assert quickstart.main() == 4
    assert machine.calls == ["prepare", "install --yes"]


@pytest.mark.skipif(sys.platform == "win32", reason="the pretended nvidia-smi is a shell script")
@pytest.mark.parametrize(("ends", "seen"), [("exit 0", True), ("exit 9", False), ("exec sleep 60", False)])
def test_only_gpus_that_the_driver_lists_count(
    ends: str, seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{ends}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(environment, "SECONDS_FOR_DRIVER", 0.5)
    assert environment.has_gpu() is seen


def test_without_a_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not environment.has_gpu()
