"""What the installer leaves if packages were declined: every command answers, and says how to get what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.commands.required_packages import broken_package

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("calls_without_training_packages.py")
Answer = tuple[int, str, str | None]


def answers(calls: list[list[str]], folder: Path, *options: str) -> list[Answer]:
    """The answers of calls in one process that has no torch; with torch-is-there, one that must not import it."""
    child = subprocess.run(
        [sys.executable, str(CHILD), *options],
        input=json.dumps(calls),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "AIOS_HOME": str(folder / "home"), "PATH": ""},
        capture_output=True,
        encoding="utf-8",
    )
    assert child.returncode == 0, child.stderr
    return [tuple(answer) for answer in json.loads(child.stdout)]


def test_a_command_that_needs_torch_names_what_is_missing_and_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "text.txt").write_text("some text", encoding="utf-8")
    (tmp_path / "model").mkdir()
    made = ["--dataset-file", "text.txt", "--tokenizer", "byte"]
    calls = [
        ["train", "--config", str(ROOT / "configs/quickstart.yaml"), *made],
        ["generate", "--checkpoint", "model"],
        ["export", "--checkpoint", "model", "--output", "exported"],
        ["hrm-hf", "train-actv1", *made],
    ]
    for call, (status, output, exception) in zip(calls, answers(calls, tmp_path), strict=True):
        assert (status, exception) == (2, None), (call, output, exception)
        assert f"torch, transformers, safetensors, numpy and peft are not installed in {sys.prefix}" in output
        assert "  aios install\n" in output
        assert "-m pip install" in output


def test_runs_are_listed_without_torch(tmp_path: Path) -> None:
    record = {"time": "2026-11-30T12:00:00+00:00", "event": "run_start", "step": 0, "resumed_from": None}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8", newline="\n")
    (listed, plotted) = answers([["runs", "metrics.jsonl"], ["plot", "metrics.jsonl"]], tmp_path)
    assert listed[0] == 0 and listed[2] is None, listed
    assert plotted[0] == 2 and plotted[2] is None, plotted


def test_a_package_that_cannot_be_imported_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an environment: torch is there, and a library of it is missing."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "raise OSError('[WinError 126] Error loading c10.dll')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(OSError, match="c10") as raised:
        import torch  # noqa: F401
    found = broken_package(raised.value)
    assert found is not None
    assert "torch is installed in" in found and "[WinError 126] Error loading c10.dll" in found
    assert found.endswith("aios doctor")


def test_another_import_error_is_not_blamed_on_a_package() -> None:
    assert broken_package(ModuleNotFoundError("No module named 'x'", name="x")) is None
    assert broken_package(OSError("disk full")) is None
