"""Uninstalling: only folders of aios, each with its size, and only after a yes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pip_progress
import pytest
import uninstall
from environment import Environment


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment of 2 MiB, records of 1 MiB, and no tokenized texts."""
    environment = Environment(tmp_path / "venv")
    for file, size in (
        (environment.folder / "pyvenv.cfg", 2),
        (tmp_path / "data" / "aios" / "runs" / "x", 1),
    ):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * (size << 20))
    folders = [str(tmp_path / "data" / "aios"), str(tmp_path / "cache" / "aios")]
    monkeypatch.setattr(Environment, "output_of", lambda *_: json.dumps(folders))
    monkeypatch.delenv("AIOS_HOME", raising=False)
    return environment


def test_each_folder_is_shown_with_its_size_and_deleted_after_a_yes(
    installed: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return ["n", "y"][len(asked) - 1]

    assert uninstall.uninstall(installed, yes=False, ask=answer) == 1
    said = capsys.readouterr().out
    assert f"2 MiB  environment: {installed.folder}" in said
    assert f"1 MiB  records and downloads: {tmp_path / 'data' / 'aios'}" in said
    assert "Nothing was deleted." in said and installed.folder.is_dir()
    assert uninstall.uninstall(installed, yes=False, ask=answer) == 0
    assert not installed.folder.exists() and not (tmp_path / "data" / "aios").exists()
    assert uninstall.uninstall(installed, yes=False, ask=answer) == 0, "nothing is left, and nothing is asked"
    assert len(asked) == 2


def test_other_folders_are_left_alone(
    installed: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that AIOS_HOME names, and one without an environment, may hold anything."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "data" / "aios"))
    (installed.folder / "pyvenv.cfg").unlink()
    assert uninstall.uninstall(installed, yes=True) == 0
    assert installed.folder.is_dir() and (tmp_path / "data" / "aios").is_dir()


@pytest.mark.parametrize("status", [0, 3])
def test_pip_shows_one_line_on_a_terminal_and_its_output_if_it_fails(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = tmp_path / "pip.py"  # python -m pip finds it in the current folder
    pip.write_text(
        f"print('Collecting torch'); print('a secret detail'); raise SystemExit({status})", encoding="utf-8"
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert pip_progress.run_pip(Path(sys.executable), ["x"], tmp_path) == status
    said = capsys.readouterr().out
    assert "\rCollecting torch" in said
    assert ("a secret detail" in said) == bool(status)
