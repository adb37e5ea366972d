"""`aios doctor --jsonl`: one event per line as it happens, and a report at the end of every run, even a failed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

import aios
import doctor.commands.common
from doctor.check import Probe
from doctor.models import Report
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, FakeHost

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "doctor" / "schemas" / "event.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def doctor_with(monkeypatch, machine) -> Callable[..., FakeHost]:
    """Run the command with one recorded machine and only these checks."""

    def install(*checks: Any) -> FakeHost:
        host = machine()
        monkeypatch.setattr(doctor.commands.common, "CHECKS", checks)
        monkeypatch.setattr(doctor.commands.common, "live_host", lambda: host)
        return host

    return install


def run(*arguments: str) -> Result:
    return CliRunner().invoke(aios.app, ["doctor", "--jsonl", *arguments], prog_name="aios")


def events(text: str) -> list[dict[str, Any]]:
    """Parse the events and check them: all match the schema, the first is the plan, only the last is the report."""
    parsed = [json.loads(line) for line in text.splitlines()]
    for event in parsed:
        jsonschema.validate(event, SCHEMA)
    names = [event["event"] for event in parsed]
    assert names[0] == "started" and names[-1] == "report" and names.count("report") == 1, names
    return parsed


def report_in(text: str) -> Report:
    return Report.model_validate(events(text)[-1]["report"])


def test_the_events_of_a_run(doctor_with) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    result = run()
    assert result.exit_code == 1
    assert result.stdout.isascii()
    started, *rest, last = events(result.stdout)
    assert started["checks"] == ["long-paths", "temp-dir"]
    assert [event["event"] for event in rest] == ["probe", "probe", "finding", "finding"]
    assert {(event["probe"], event["answered"], event["failure"]) for event in rest[:2]} == {
        ("long-paths", True, None),
        ("temp-dir", True, None),
    }
    assert [event["finding"] for event in rest[2:]] == last["report"]["findings"]


def test_a_probe_without_facts_reports_the_reason(doctor_with) -> None:
    doctor_with(replace(LONG_PATHS, probes=(Probe("broken", lambda host: 1 / 0),)))
    result = run()
    assert result.exit_code == 3
    (probe,) = (event for event in events(result.stdout) if event["event"] == "probe")
    assert (probe["answered"], "ZeroDivisionError" in probe["failure"]) == (False, True)


@pytest.mark.parametrize("options", [["--fix", "--yes"], ["--fix", "--dry-run"], ["--fix"]])
def test_after_a_fix_the_report_is_that_of_the_repeated_checks(doctor_with, options) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    result = run(*options)
    wanted = "ok" if "--yes" in options else "error"
    assert {finding.status for finding in report_in(result.stdout).findings} == {wanted}
    assert result.exit_code == (0 if "--yes" in options else 1)


def test_a_run_that_cannot_be_stored_prints_a_report(doctor_with, tmp_path) -> None:
    doctor_with(LONG_PATHS)
    (tmp_path / "state").write_bytes(b"a file in the way")
    result = run("--fix", "--yes")
    assert result.exit_code == 4
    assert report_in(result.stdout).summary.error == 1


def test_an_internal_error_still_prints_a_report(doctor_with, monkeypatch) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(doctor.commands.common, "run_doctor", fail)
    result = run()
    assert isinstance(result.exception, RuntimeError), "and the traceback goes to stderr"
    report = report_in(result.stdout)
    assert [finding.check for finding in report.findings] == ["long-paths", "temp-dir"]
    assert all("the doctor itself failed with RuntimeError: a defect" in f.summary for f in report.findings)


def test_an_interrupted_fix_prints_the_report_of_the_diagnosis(doctor_with, monkeypatch) -> None:
    host = doctor_with(LONG_PATHS)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "set_registry_value", interrupt)
    result = run("--fix", "--yes")
    assert result.exit_code == 130
    assert report_in(result.stdout).summary.error == 1


def test_an_unwritable_capability_file_still_prints_a_report(doctor_with, monkeypatch, tmp_path) -> None:
    host = doctor_with()
    monkeypatch.undo()
    monkeypatch.setattr(doctor.commands.common, "live_host", lambda: host)
    host._machine.distributions.update({"torch": None, "flash-attn": None, "xformers": None})
    result = run("--only", "backend-*", "--capability-file", str(tmp_path))
    assert result.exit_code == 1
    assert report_in(result.stdout).capability_file is None
    assert "Cannot write the capability file" in result.stderr


@pytest.mark.parametrize("other", ["--json", "--markdown"])
def test_only_one_output_format_is_allowed(doctor_with, other) -> None:
    doctor_with(LONG_PATHS)
    result = run(other)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "choose one of --json, --jsonl and --markdown" in " ".join(result.stderr.split())


SLOW = """
import signal, sys, time
from dataclasses import replace
sys.path[:0] = {path!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
import doctor.commands.common as common
from doctor.check import Check, Probe
from doctor.models import Finding

def check(name, look):
    said = Finding(check=name, status="ok", summary="seen")
    return Check(id=name, group="system", looks_at="it", why="so", by_hand="so", probes=(Probe(name, look, 3600),),
                 judge=lambda facts: said)

common.CHECKS = (check("quick", lambda host: open({marker!r}, "w").close()), check("slow", lambda host: time.sleep(3600)))
import aios
sys.argv = ["aios", "doctor", *sys.argv[1:]]
aios.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows an interrupt reaches this process, too")
@pytest.mark.parametrize("form", ["--jsonl", "--json", "--markdown", "--ascii"])
def test_ctrl_c_ends_with_a_report_of_the_completed_checks(tmp_path: Path, form: str) -> None:
    printed, state = tmp_path / "printed", tmp_path / "state"
    code = SLOW.format(path=[str(ROOT)], marker=str(tmp_path / "looked"))
    with printed.open("wb") as stdout:
        started = subprocess.Popen(
            [sys.executable, "-c", code, form],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "AIOS_HOME": str(state)},
        )
    reported = (lambda: b'"quick", "seconds"' in printed.read_bytes()) if form == "--jsonl" else None
    wait_for(reported or (tmp_path / "looked").exists)  # the slow probe is still running
    started.send_signal(signal.SIGINT)
    _, stderr = started.communicate()
    assert (started.returncode, stderr) == (130, b"")

    text = printed.read_text(encoding="utf-8")
    assert "Could not check: interrupted" in text
    assert not state.exists()
    if form in ("--jsonl", "--json"):
        report = events(text)[-1]["report"] if form == "--jsonl" else json.loads(text)
        summaries = {finding["check"]: finding["summary"] for finding in report["findings"]}
        assert summaries == {"quick": "seen", "slow": "Could not check: interrupted"}


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)
    time.sleep(0.3)  # until the main thread has received the result of the probe's thread
