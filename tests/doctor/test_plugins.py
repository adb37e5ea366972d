"""Plugins: the guide's example, and plugins that fail. They are real distributions in a folder on Python's path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doctor.plugins import load_plugins
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
MACHINE = ROOT / "tests" / "machines" / "linux-cpu.json"
CHECK = """
from doctor.check import Check, Probe
from doctor.models import Finding

def check(name, probes=(), judge=None, **more):
    said = Finding(check=name, status="ok", summary="fine")
    plain = dict(group="system", looks_at="it", why="so", by_hand="hands")
    return Check(id=name, probes=probes, judge=judge or (lambda *facts: said), **{**plain, **more})
"""


def distribute(folder: Path, name: str, source: str, entry_points: dict[str, str]) -> None:
    """Write what pip would install: a module, its metadata and its entry points."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[aios.doctor.checks]\n{lines}", encoding="utf-8")


def block(name: str) -> str:
    """The code block that the guide shows under a file name."""
    found = re.search(rf"^`{re.escape(name)}`.*?^```\w+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The guide's plugin, installed in its own folder."""
    entry = re.search(r'^team-data = "(.*)"$', block("pyproject.toml"), re.MULTILINE)
    assert entry and 'entry-points."aios.doctor.checks"' in block("pyproject.toml")
    folder = tmp_path / "site"
    folder.mkdir()
    distribute(folder, "aios_team_data", block("aios_team_data.py"), {"team-data": entry[1]})
    return folder


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "AIOS_HOME": str(folder / "state"), **variables}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        cwd=folder,
    )


def doctor(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(folder, str(ROOT / "aios.py"), "doctor", *arguments, **variables)


def test_the_guides_example_diagnoses_fixes_and_undoes(sample: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    ask = ("--only", "team-data", "--json")

    def status() -> tuple[int, str]:
        done = doctor(sample, *ask, TEAM_DATA=str(data))
        (finding,) = json.loads(done.stdout)["findings"]
        return done.returncode, finding["status"]

    assert status() == (1, "error")
    assert doctor(sample, "fix", "team-data", "--yes", TEAM_DATA=str(data)).returncode == 0
    assert status() == (0, "ok")
    assert doctor(sample, "undo").returncode == 0
    data.write_bytes(b"a file in the way")
    assert status() == (3, "unknown")

    listed = doctor(sample, "list").stdout
    assert "Plugin aios_team_data 1.0" in listed and "team-data" in listed.partition("Plugin")[2]
    explained = doctor(sample, "explain", "team-data", TEAM_DATA=str(data)).stdout
    assert "The folder that TEAM_DATA names." in explained
    assert re.search(r"plugin +aios_team_data 1\.0", explained)


def test_the_guides_test_passes(sample: Path) -> None:
    (sample / "test_aios_team_data.py").write_text(block("test_aios_team_data.py"), encoding="utf-8")
    shutil.copy(MACHINE, sample / "machine.json")
    done = run(sample, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_aios_team_data.py")
    assert (done.returncode, "4 passed" in done.stdout) == (0, True), done.stdout


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Install plugins and load them all. Module names differ from call to call, because Python caches imports."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(*sources: str, entry: str = "extra", attribute: str = "CHECK") -> list[Any]:
        for number, source in enumerate(sources):
            name = f"plugin_{tmp_path.name.replace('-', '_')}_{number}"
            distribute(tmp_path, name, CHECK + source, {entry: f"{name}:{attribute}"})
        plugins = load_plugins([LONG_PATHS, TEMP_DIR])
        return [check for plugin in plugins for check in plugin.checks]

    return install


def test_an_entry_point_provides_one_check_or_several(installed) -> None:
    checks = installed('CHECK = check("one")', 'CHECK = [check("two"), check("three")]')
    assert [check.id for check in checks] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module", "raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("import sys; sys.exit(3)", "raised SystemExit"),
        ("", "raised AttributeError"),
        ("def CHECK(:", "raised SyntaxError"),
        ("CHECK = 'a check'", "it provides 'a check', which is not a Check"),
        ("CHECK = [check('fine'), None]", "it provides None, which is not a Check"),
        ("CHECK = check('long-paths')", "the id 'long-paths' is already in use"),
        ("CHECK = [check('twice'), check('twice')]", "the id 'twice' is already in use"),
        ("CHECK = check('Not An Id')", "id must be lower-case-words, got 'Not An Id'"),
        ("CHECK = check('odd', group='others')", "group must be one of system, gpu"),
        ("CHECK = check('odd', systems={'win'})", "systems must be among windows, linux, macos, got win"),
        ("CHECK = check('odd', why=None)", "looks_at, why and by_hand must be text"),
        ("CHECK = check('odd', probes=(len,))", "where a Probe is required"),
        ("CHECK = check('odd', requires=(len,))", "where a Requirement is required"),
        ("CHECK = check('odd', because_of=('torch',))", "'odd' has 'torch' where a Check is required"),
        (
            "CHECK = check('odd', probes=(Probe('temp-dir', len),))",
            "the probe name 'temp-dir' is already in use",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_a_finding(installed, source, says) -> None:
    (check,) = installed(source)
    finding = check.judge()
    assert (check.id, finding.check, finding.status) == ("plugin-extra", "plugin-extra", "unknown")
    assert says in finding.summary
    assert re.search(r"plugin_\w+ 1\.0", finding.summary), "names the distribution"
    assert finding.hint and finding.impact


def test_two_broken_plugins_of_one_name_are_two_findings(installed) -> None:
    checks = installed("1 / 0", "1 / 0", entry="Extra: checks!")
    assert [check.id for check in checks] == ["plugin-extra-checks", "plugin-extra-checks-too"]


def test_output_and_crashes_of_a_plugin_do_not_damage_the_report(tmp_path: Path) -> None:
    source = (
        CHECK
        + """
print("hello from the module")
def talk(host):
    print("hello from the probe")
    raise ValueError("no luck")
CHECK = check("talks", probes=(Probe("talks", talk),))
"""
    )
    distribute(tmp_path, "talkative", source, {"talks": "talkative:CHECK"})
    done = doctor(tmp_path, "--only", "talks", "--json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["status"]) == (3, "unknown")
    assert "the probe 'talks' raised ValueError: no luck" in finding["summary"]
    events = doctor(tmp_path, "--only", "talks", "--jsonl").stdout.splitlines()
    assert [json.loads(line)["event"] for line in events] == ["started", "probe", "finding", "report"]
