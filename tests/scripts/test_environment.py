"""The environment of the two commands: made once, kept while nothing changed, and told clearly where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import environment
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = {
    canonicalize_name(pin.name): pin
    for pin in map(
        Requirement, filter(str.strip, (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:])
    )
}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that were started: `venv` for true, pip only for show. The environment lies in a folder of the test."""
    started: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> int:
        started.append(command)
        return 0

    def venv(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append([str(part) for part in command])
        environment.python().parent.mkdir(parents=True)
        environment.python().touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environment, "FOLDER", tmp_path / "Zoë's folder" / ".venv")
    monkeypatch.setattr(environment.subprocess, "call", pip)
    monkeypatch.setattr(environment.subprocess, "run", venv)
    return started


def test_a_second_time_installs_nothing(calls: list[list[str]]) -> None:
    environment.prepare("train")
    assert [command[2] for command in calls] == ["venv", "pip"]
    assert str(environment.CONSTRAINTS) in calls[1]
    environment.prepare("train")
    assert len(calls) == 2


def test_another_extra_or_a_changed_pin_installs_again(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.prepare("train")
    environment.prepare("test")
    assert [command[2] for command in calls] == ["venv", "pip", "pip"]
    changed = tmp_path / "constraints.txt"
    changed.write_text("torch==3.0\n", encoding="utf-8")
    monkeypatch.setattr(environment, "CONSTRAINTS", changed)
    environment.prepare("train")
    assert len(calls) == 4


def test_a_failed_pip_is_told_and_tried_again_the_next_time(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.subprocess, "call", lambda *_, **__: 1)
    for _ in range(2):
        with pytest.raises(environment.PreparationError, match="pip could not install"):
            environment.prepare("train")


def test_a_python_without_venv_is_told_and_leaves_nothing_half_made(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        environment.python().parent.mkdir(parents=True)
        return subprocess.CompletedProcess(command, 1, "", "ensurepip is not available")

    monkeypatch.setattr(environment.subprocess, "run", fails)
    with pytest.raises(environment.PreparationError, match=r"(?s)ensurepip is not available.*python3-venv"):
        environment.prepare("train")
    assert not environment.FOLDER.exists()


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(environment.PreparationError, match=sys.version.split()[0]):
        environment.prepare("train")


def test_what_is_installed_here_is_what_is_pinned() -> None:
    for name, pin in PINS.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            assert pin.marker, f"{name} is pinned for every system and not needed on this one"
            continue
        if not pin.marker or pin.marker.evaluate():
            assert pin.specifier.contains(installed, prereleases=True), f"{name} {installed} is not {pin}"


def test_every_package_that_the_project_names_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    gui = 'gui = ["nicegui>=2.0"]'  # neither of the two commands installs it
    named = [line.strip(' ",') for line in block.replace(gui, "").splitlines() if line.startswith('    "')]
    names = {canonicalize_name(Requirement(one).name) for one in named} - {"aios"}
    assert len(names) > 15
    assert names <= PINS.keys()
