"""`aios doctor --python PATH`: what is said, fixed and undone is that of the other environment."""

from __future__ import annotations

import json
import os
import venv
from pathlib import Path
from typing import Any

import pytest

import doctor.checks
import doctor.commands.common
from doctor.actions import MakeDirectory
from doctor.aios_home import changing_alone, environment_folder, is_being_changed
from doctor.capability import default_path
from doctor.check import Check, Probe
from doctor.checks import CHECKS
from doctor.host import Reader
from doctor.host.live import live_host
from doctor.host.other_python import find_python
from doctor.models import Finding, Fix
from doctor.probes.backends import _command
from doctor.runs.commands_for_python import finding_for_python, for_python
from tests.doctor.calls import run

P = "/home/zoë b/env/bin/python"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    venv.create(tmp_path / "other env", symlinks=os.name != "nt")
    return tmp_path / "other env"


def in_prefix(folder: Path | None = None) -> Check:
    """A check that wants a folder in the environment, or in `folder`, and whose fix makes it."""

    def look(host: Reader) -> Any:
        path = str(Path(folder or host.identity.prefix, "made by a fix"))
        return path, MakeDirectory(path=path).read(host)

    def judge(seen: tuple[str, Any]) -> Finding:
        path, there = seen
        if there == MakeDirectory(path=path).state:
            return Finding(check="in-prefix", status="ok", summary="as it should be")
        fix = Fix(
            id="make", applicability="safe", commands=("aios doctor fix in-prefix",), actions=(MakeDirectory(path=path),)
        )  # fmt: skip
        return Finding(check="in-prefix", status="error", summary="missing", hint="Make it", fix=fix)

    return Check("in-prefix", "system", "x", "x", "x", (Probe("in-prefix", look),), judge)


def test_the_report_names_the_environment(environment: Path) -> None:
    python = find_python(environment)
    printed = run("--python", str(environment), "--only", "virtual-environment").stdout
    assert f"Python {python.python} in {python.executable}" in printed
    done = run("--python", str(environment), "--only", "virtual-environment", "--json")
    report = json.loads(done.stdout)
    assert report["machine"]["environment"] == python.executable
    assert str(environment) in report["findings"][0]["summary"]
    assert json.loads(run("--only", "memory", "--json").stdout)["machine"]["environment"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fix"],
        ["undo"],
        ["report"],
        ["record", "x.json"],
        ["explain-log", __file__],
        ["explain", "torch"],
    ],
)
def test_a_path_without_a_python_is_a_usage_error(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, "--python", str(tmp_path / "nowhere"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "nowhere does not exist. Give the interpreter" in " ".join(done.stderr.split())


def test_a_fix_acts_there_and_undo_finds_it_again(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.commands.common, "CHECKS", (in_prefix(),))
    made = environment / "made by a fix"
    third = environment.with_name("third")
    venv.create(third, symlinks=os.name != "nt")
    done = run("fix", "--yes", "--python", str(environment))
    assert (done.exit_code, made.is_dir()) == (0, True), done.output
    assert str(environment) in run("runs").stdout
    assert "nothing to undo in" in run("undo", "--python", str(third)).stdout
    assert made.is_dir()
    undone = run("undo")
    assert f"in {environment}:" in undone.stdout and not made.exists()
    assert "nothing to undo." in run("undo").stdout


def test_a_run_whose_environment_is_gone_is_listed_and_cannot_be_undone(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.commands.common, "CHECKS", (in_prefix(),))
    run("fix", "--yes", "--python", str(environment))
    environment.rename(environment.with_name("gone"))
    assert str(environment) in run("runs").stdout
    assert "nothing to undo." in run("undo").stdout
    name = next(line.split()[0] for line in run("runs").stdout.splitlines() if "fixed" in line or "undone" in line or "failed" in line)  # fmt: skip
    done = run("undo", name)
    assert (done.exit_code, "no longer exists or is not" in " ".join(done.stderr.split())) == (2, True)


def test_what_a_run_changed_on_the_machine_is_undone_without_its_environment(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long paths enabled for an application stay the user's, after the application is removed."""
    monkeypatch.setattr(doctor.commands.common, "CHECKS", (in_prefix(tmp_path),))
    run("fix", "--yes", "--python", str(environment))
    environment.rename(environment.with_name("gone"))
    assert (tmp_path / "made by a fix").is_dir()
    assert run("undo").exit_code == 0
    assert not (tmp_path / "made by a fix").exists()


def test_a_check_is_explained_for_that_python(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.commands.common, "CHECKS", (in_prefix(),))
    said = " ".join(run("explain", "in-prefix", "--python", str(environment)).stdout.split())
    python = find_python(environment).executable
    assert f'aios doctor fix --python "{python}" in-prefix' in said
    assert f"create the folder {environment}" in said
    assert "--python" not in run("explain", "in-prefix").stdout


def test_a_log_is_explained_with_commands_for_that_python(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("ModuleNotFoundError: No module named 'triton'\n", "utf-8")
    said = " ".join(run("explain-log", str(tmp_path / "log"), "--python", str(environment)).stdout.split())
    assert f'`aios install --python "{find_python(environment).executable}" triton`' in said
    (tmp_path / "log").write_text("nothing known\n", "utf-8")
    unknown = run("explain-log", str(tmp_path / "log"), "--python", str(environment))
    assert "aios doctor --python" in unknown.stderr


def test_each_environment_has_its_lock_and_its_capability_file(environment: Path, state: Path) -> None:
    own, other = live_host(), live_host(find_python(environment))
    folder = environment_folder(other)
    assert (environment_folder(own), folder.parent) == (state, state / "environments")
    assert folder.name.startswith("other-env-")
    assert default_path(host=own) == state / "capability.json"
    assert default_path(host=other) == folder / "capability.json"
    with changing_alone(other, packages_only=True):
        assert (is_being_changed(other), is_being_changed(own)) == (True, False)
    with changing_alone(other):
        assert is_being_changed(own), "a fix may change the machine"


def test_the_capability_file_of_the_trainer_is_not_overwritten(environment: Path, state: Path) -> None:
    """The other environment has no torch, so no child is started."""
    backends = [part for check in CHECKS if check.group == "backends" for part in ("--only", check.id)]
    report = json.loads(run("--python", str(environment), "--json", *backends).stdout)
    assert Path(report["capability_file"]).is_relative_to(state / "environments")
    assert not (state / "capability.json").exists()


def test_the_python_that_runs_aios_may_be_named(state: Path) -> None:
    import sys

    report = json.loads(run("--python", sys.prefix, "--only", "memory", "--json").stdout)
    assert report["machine"]["environment"] is None


def test_a_trial_run_there_starts_that_python_without_its_site(environment: Path) -> None:
    host = live_host(find_python(environment))
    command = _command(host, "sdpa")
    assert command[:4] == [host.identity.executable, "-I", "-S", "-B"]
    assert Path(command[4]).is_file() and command[5:] == ["sdpa"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aios install flash-attn", f'aios install --python "{P}" flash-attn'),
        ("Run: aios doctor fix temp-dir", f'Run: aios doctor fix --python "{P}" temp-dir'),
        ("then run aios doctor", f'then run aios doctor --python "{P}"'),
        ("aios doctor --only torch", f'aios doctor --python "{P}" --only torch'),
        ("See: aios doctor explain torch", f'See: aios doctor explain --python "{P}" torch'),
        ("aios doctor explain-log x.txt", f'aios doctor explain-log --python "{P}" x.txt'),
        ("aios history; aios train", "aios history; aios train"),
        ("To undo: aios undo.", f'To undo: aios undo --python "{P}".'),
        ("pip install aios-doctor", "pip install aios-doctor"),
    ],
)
def test_commands_name_the_python_that_they_act_on(text: str, expected: str) -> None:
    assert for_python(text, P) == expected
    assert for_python(text, None) == text
    assert for_python(expected, P) == expected, "a report is made twice, before a fix and after it"
    fix = Fix(id="x", applicability="manual", commands=(text,), by_hand=(text,))
    found = finding_for_python(Finding(check="x", status="error", summary="s", hint=text, fix=fix), P)
    assert found.fix is not None
    assert (found.hint, found.fix.commands, found.fix.by_hand) == (expected, (expected,), (expected,))
