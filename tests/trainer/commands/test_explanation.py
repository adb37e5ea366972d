"""Unexpected errors: the doctor's explanation is printed, and the error is raised unchanged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import aios
import trainer.commands.explanation
import trainer.generate
import trainer.run
from trainer.commands.explanation import explanation
from trainer.errors import RunError

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
CUDA = "CUDA error: no kernel image is available for execution on the device"
DLL = '[WinError 126] Das angegebene Modul wurde nicht gefunden. Error loading "C:\\v\\torch\\lib\\c10.dll" or one of its dependencies.'


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BaseException], Result]:
    """Call `aios train` with a run that raises this error."""

    def invoke(error: BaseException) -> Result:
        def run(*_: object) -> None:
            raise error

        monkeypatch.setattr(trainer.run, "run", run)
        arguments = ["train", "--config", str(QUICKSTART), "--output-dir", str(tmp_path / "run")]
        return CliRunner().invoke(aios.app, arguments, prog_name="aios")

    return invoke


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (RuntimeError(CUDA), "torch, or a package, has no code for this GPU"),
        (OSError(DLL), "torch cannot load one of its own libraries"),
        (AssertionError("Torch not compiled with CUDA enabled"), "torch is a CPU build"),
    ],
)
def test_a_known_error_is_explained_and_raised(train, error: Exception, title: str) -> None:
    result = train(error)
    assert result.exception is error
    assert result.exit_code == 1
    assert result.stdout == ""
    assert title in result.stderr


def test_an_unknown_error_is_raised_without_an_explanation(train) -> None:
    error = ValueError("nobody knows")
    result = train(error)
    assert (result.exception, result.stdout, result.stderr) == (error, "", "")


@pytest.mark.parametrize("error", [RunError(CUDA), BrokenPipeError(32, "Broken pipe"), KeyboardInterrupt()])
def test_an_expected_error_is_not_explained(train, monkeypatch, error: BaseException) -> None:
    monkeypatch.setattr(
        "trainer.commands.explanation.explanation", lambda error: pytest.fail("asked the doctor")
    )
    assert "The doctor" not in train(error).stderr


def test_errors_in_sampling_are_explained_too(monkeypatch, tmp_path) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError(CUDA)

    monkeypatch.setattr(trainer.generate, "load", load)
    monkeypatch.setattr("trainer.capability.load", lambda *_, **__: None)
    result = CliRunner().invoke(aios.app, ["generate", "--checkpoint", str(tmp_path)], prog_name="aios")
    assert isinstance(result.exception, RuntimeError)
    assert "has no code for this GPU" in result.stderr


@pytest.mark.parametrize(
    "program",
    ["import time; time.sleep(3600)", "raise SystemExit(3)", "import os; os.write(2, b'x'); os.abort()"],
    ids=["hangs", "fails", "dies"],
)
def test_a_doctor_that_fails_or_hangs_adds_nothing(monkeypatch, program: str) -> None:
    real = subprocess.run

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        return real([sys.executable, "-c", program], **options)  # type: ignore[call-overload]

    monkeypatch.setattr("trainer.commands.explanation.subprocess.run", run)
    monkeypatch.setattr(trainer.commands.explanation, "TIMEOUT", 2.0)
    assert explanation(RuntimeError(CUDA)) == ""


def test_without_a_python_to_start_nothing_is_added(monkeypatch) -> None:
    monkeypatch.setattr("trainer.commands.explanation.sys.executable", str(Path("no such python")))
    assert explanation(RuntimeError(CUDA)) == ""
