"""An environment is created once, kept while nothing changes, and recreated if broken; failures have clear messages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import environment
import pytest
from environment import Environment, PreparationError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = {
    canonicalize_name(pin.name): pin
    for pin in map(
        Requirement, filter(str.strip, (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:])
    )
}


class Machine:
    """Fake programs. The interpreter of an environment starts if its file exists."""

    def __init__(self, home: Environment) -> None:
        self.home = home
        self.started: list[list[str]] = []
        self.constraints: list[str] = []
        self.torch: str | None = None
        self.pip_status = 0
        self.former_entry_points = ""

    def call(self, command: list[str], **_: Any) -> int:
        self.started.append(command)
        if "install" in command:
            self.constraints.append(Path(command[command.index("--constraint") + 1]).read_text("utf-8"))
        return self.pip_status

    def run(self, command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == self.home.python:
            if not self.home.python.exists():
                raise FileNotFoundError(command[0])
            if "distribution('aios')" in command[-1]:
                return subprocess.CompletedProcess(command, 0, self.former_entry_points, "")
            if "torch" in command[-1] and self.torch is None:
                return subprocess.CompletedProcess(command, 1, "", "PackageNotFoundError")
            return subprocess.CompletedProcess(command, 0, f"{self.torch}\n", "")
        self.started.append([str(part) for part in command])
        shutil.rmtree(self.home.folder, ignore_errors=True)  # --clear
        self.home.python.parent.mkdir(parents=True)
        self.home.python.touch()
        (self.home.folder / "pyvenv.cfg").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    @property
    def modules(self) -> list[str]:
        """The modules that were run with `python -m`."""
        return [command[2] for command in self.started]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    pretended = Machine(Environment(tmp_path / "Zoë's folder" / ".venv"))
    monkeypatch.setattr(subprocess, "call", pretended.call)
    monkeypatch.setattr(subprocess, "run", pretended.run)
    return pretended


@pytest.fixture
def checkout(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that tests may change; the environment is outside of it."""
    folder = tmp_path / "checkout"
    (folder / "doctor").mkdir(parents=True)
    for name in ("aios.py", "pyproject.toml", "constraints.txt", "doctor/check.py"):
        (folder / name).write_text("typer==1.0\ntorch==2.13.0\n", encoding="utf-8")
    monkeypatch.setattr(environment, "REPOSITORY", folder)
    monkeypatch.setattr(environment, "CONSTRAINTS", folder / "constraints.txt")
    return folder


def test_a_second_run_installs_nothing(machine: Machine) -> None:
    machine.home.prepare("train")
    assert machine.modules == ["venv", "pip"]
    machine.home.prepare("train")
    assert len(machine.started) == 2


def test_another_extra_or_a_changed_pin_installs_again(machine: Machine, checkout: Path) -> None:
    machine.home.prepare("train")
    machine.home.prepare("test")
    assert machine.modules == ["venv", "pip", "pip"]
    (checkout / "constraints.txt").write_text("torch==3.0\n", encoding="utf-8")
    machine.home.prepare("train")
    assert len(machine.started) == 4


def test_a_copy_is_renewed_when_the_source_changed(machine: Machine, checkout: Path) -> None:
    machine.home.prepare()
    assert machine.started[1][-1] == str(checkout)
    assert "--editable" not in machine.started[1]
    cache = checkout / "doctor" / "__pycache__"
    cache.mkdir()
    (cache / "check.pyc").touch()
    machine.home.prepare()
    assert len(machine.started) == 2
    (checkout / "doctor" / "check.py").write_text("changed", encoding="utf-8")
    machine.home.prepare()
    assert machine.modules == ["venv", "pip", "pip"]


def test_the_environment_in_the_checkout_follows_its_source(machine: Machine, checkout: Path) -> None:
    machine.home = Environment(checkout / ".venv")
    machine.home.prepare("train")
    assert machine.started[1][-2:] == ["--editable", f"{checkout}[train]"]
    (checkout / "doctor" / "check.py").write_text("changed", encoding="utf-8")
    machine.home.prepare("train")
    assert len(machine.started) == 2


@pytest.mark.parametrize(
    ("torch", "inside", "constraints"),
    [
        (None, True, "typer==1.0\ntorch==2.13.0\n"),
        (None, False, "typer==1.0\ntorch==2.13.0\n"),
        ("2.13.0", True, "typer==1.0\ntorch==2.13.0\n"),
        ("2.12.0", True, "typer==1.0\ntorch==2.13.0\n"),  # installed by older pins
        ("2.12.0", False, "torch==2.12.0\n"),
        ("2.13.0+cu130", True, "typer==1.0\ntorch==2.13.0+cu130\n"),
        ("2.11.0+cu128", True, "torch==2.11.0+cu128\n"),
        ("2.15.0+cpu", False, "torch==2.15.0+cpu\n"),
    ],
)
def test_pip_does_not_replace_a_torch_that_was_selected(
    machine: Machine, checkout: Path, torch: str | None, inside: bool, constraints: str
) -> None:
    if inside:
        machine.home = Environment(checkout / ".venv")
    machine.torch = torch
    machine.home.prepare("train")
    assert machine.constraints == [constraints]


@pytest.mark.parametrize(
    ("entry_points", "removed"),
    [("[console_scripts]\naios = aios:main\n", True), ("[console_scripts]\naios = other.cli:run\n", False)],
)
def test_aios_under_its_former_name_is_uninstalled(
    machine: Machine, entry_points: str, removed: bool
) -> None:
    machine.former_entry_points = entry_points
    machine.home.prepare()
    uninstalled = [command[-1] for command in machine.started if "uninstall" in command]
    assert uninstalled == ["aios"] * removed


def test_a_failure_of_pip_is_reported_and_retried_on_the_next_run(machine: Machine) -> None:
    machine.pip_status = 1
    for _ in range(2):
        with pytest.raises(PreparationError, match="pip could not install"):
            machine.home.prepare("train")
    assert machine.modules == ["venv", "pip", "pip"]


def test_a_python_without_venv_is_reported_and_leaves_no_partial_environment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == machine.home.python:
            raise FileNotFoundError
        machine.home.python.parent.mkdir(parents=True)
        return subprocess.CompletedProcess(command, 1, "", "ensurepip is not available")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(PreparationError, match=r"(?s)ensurepip is not available.*"):
        machine.home.prepare("train")
    assert not machine.home.folder.exists()


def test_a_broken_environment_is_recreated(machine: Machine) -> None:
    machine.home.prepare()
    machine.home.python.unlink()
    machine.home.prepare()
    assert machine.modules == ["venv", "pip", "venv", "pip"]


def test_a_moved_environment_is_recreated(machine: Machine) -> None:
    machine.home.prepare()
    elsewhere = machine.home.folder.with_name("moved")
    machine.home.folder.rename(elsewhere)
    machine.home = Environment(elsewhere)
    machine.home.prepare()
    assert machine.modules == ["venv", "pip", "venv", "pip"]


def test_pip_is_added_to_an_environment_without_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.home.prepare()
    run = machine.run

    def has_no_pip(command: list[Any], **options: Any) -> subprocess.CompletedProcess[str]:
        return run(command, **options) if "pip" not in command[-1] else subprocess.CompletedProcess("", 1)

    monkeypatch.setattr(subprocess, "run", has_no_pip)
    machine.home.prepare()
    assert machine.modules == ["venv", "pip", "ensurepip"]


def test_a_folder_with_other_content_is_left_alone(machine: Machine) -> None:
    machine.home.folder.mkdir(parents=True)
    letter = machine.home.folder / "letter.txt"
    letter.write_text("Dear Zoë", encoding="utf-8")
    with pytest.raises(PreparationError, match="not a Python environment"):
        machine.home.prepare()
    assert letter.read_text(encoding="utf-8") == "Dear Zoë"
    assert not machine.started


def test_an_old_python_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(PreparationError, match=sys.version.split()[0]):
        machine.home.prepare("train")


def test_the_installed_versions_are_the_pinned_ones() -> None:
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
    named = [line.strip(' ",') for line in block.splitlines() if line.startswith('    "')]
    names = {canonicalize_name(Requirement(one).name) for one in named} - {"aios-doctor"}
    assert len(names) > 15
    assert names <= PINS.keys()


def test_a_copy_is_renewed_if_the_content_of_the_distribution_changes() -> None:
    names = ", ".join(f'"{name}"' for name in environment.PACKED)
    assert f"only-include = [{names}]" in (ROOT / "pyproject.toml").read_text("utf-8")
