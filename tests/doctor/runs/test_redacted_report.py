"""`aios doctor report` and `record` keep what the checks need and no personal data."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

import aios
import doctor.commands.common
from doctor.check import Probe
from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.live import live_host
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder
from doctor.host.redaction import Redactor
from doctor.report.markdown import to_markdown
from doctor.runs.redacted_report import redacted_report
from tests.doctor.checks.cases import all_cases, machine_json, patched

MACHINES = ("windows-rtx4090", "windows-cpu", "linux-h100", "linux-cpu")
CASES = all_cases()
CANARIES = ("kanarienvogel", "canary", "hf_zwitscher", "pa55wort", "finkenhaus", "nachtigall")
VARIABLES = {
    "HF_TOKEN": "hf_ZwitscherZwitscher",
    "WANDB_API_KEY": "hf_ZwitscherKey",
    "HTTPS_PROXY": "http://Kanarienvogel:Pa55wort@proxy.example:8080",
    "HTTP_PROXY": "http://Kanarienvogel:Pa55wort@proxy.example:8080",
    "PIP_INDEX_URL": "https://Kanarienvogel:Pa55wort@index.example/simple",
    "PIP_EXTRA_INDEX_URL": "https://__token__:Pa55wort@index.example/simple",
    "UV_INDEX_URL": "https://__token__:Pa55wort@index.example/simple",
}
WINDOWS = {"USERNAME": "Kanarienvogel", "COMPUTERNAME": "FINKENHAUS", "LOGONSERVER": r"\\FINKENHAUS"}
LINUX = {"USER": "kanarienvogel", "LOGNAME": "kanarienvogel", "HOSTNAME": "finkenhaus.example"}


def inhabited(machine: RecordedMachine) -> RecordedHost:
    """The same machine with personal data: user, neighbour and host names in every path, secrets in every variable."""
    windows = machine.identity.os == "windows"
    text = machine.to_json()
    for old, new in (
        ("Users\\\\user", "Users\\\\Kanarienvogel"),
        ("Users\\\\Zoë B", "Users\\\\Kanarienvogel"),
        ("/home/user", "/home/kanarienvogel"),
    ):
        text = text.replace(old, new)
    content: dict[str, Any] = json.loads(text)
    content["identity"] |= (
        {"user": "Kanarienvogel", "home": "C:\\Users\\Kanarienvogel", "host_name": "FINKENHAUS"}
        if windows
        else {"user": "kanarienvogel", "home": "/home/kanarienvogel", "host_name": "finkenhaus.example"}
    )
    environment = content["environment"]
    environment |= VARIABLES | (WINDOWS if windows else LINUX)
    neighbour = ";C:\\Users\\Nachtigall\\bin" if windows else ":/home/nachtigall/bin"
    for name in ("PATH", "Path", "PYTHONPATH", "CUDA_PATH"):
        if name in environment:
            environment[name] += neighbour
    return RecordedHost(RecordedMachine.model_validate(content))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recording_has_the_same_findings_as_its_machine(case: Any) -> None:
    host = inhabited(case.machine)
    recorder = Recorder(host)
    seen = diagnose(recorder, [case.check]).findings
    replayed = diagnose(RecordedHost(recorder.machine()), [case.check]).findings
    hide = Redactor.of(host).path

    def shown(findings: Any) -> Any:
        return [json.loads(hide(json.dumps(f.model_dump(mode="json"), ensure_ascii=False))) for f in findings]

    assert [finding.status for finding in replayed] == [finding.status for finding in seen]
    assert shown(replayed) == shown(seen)


@pytest.mark.parametrize("name", MACHINES)
def test_a_whole_recording_has_the_same_findings_as_its_machine(name: str) -> None:
    host = RecordedHost(patched(name, {}))
    recorder = Recorder(host)
    seen = diagnose(recorder, CHECKS).findings
    assert diagnose(RecordedHost(recorder.machine()), CHECKS).findings == seen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_canary_is_in_any_report(case: Any) -> None:
    shared = redacted_report(inhabited(case.machine), [case.check])
    shown = to_markdown(shared.report, shared.versions) + shared.report.model_dump_json()
    assert [canary for canary in CANARIES if canary in shown.casefold()] == []


@pytest.mark.parametrize("name", MACHINES)
def test_the_command_prints_the_shareable_report(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = inhabited(patched(name, {}))
    monkeypatch.setattr(doctor.commands.common, "live_host", lambda: host)
    result = CliRunner().invoke(aios.app, ["doctor", "report"])
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert [canary for canary in CANARIES if canary in text.casefold()] == []
    torch = machine_json(name)["distributions"]["torch"]
    assert not torch or f"torch {torch['version']}" in text
    for check in CHECKS:
        assert f"| {check.id} |" in text
    assert "it uses the network" in text


def test_findings_of_a_plugin_that_bypasses_the_host_are_redacted() -> None:
    place = "C:\\Users\\Kanarienvogel\\secret place"

    def look(host: Any) -> None:
        raise OSError(2, "No such file or directory", place)

    check = replace(CHECKS[0], id="nosy", probes=(Probe("nosy", look),), systems=frozenset({"windows"}))
    (finding,) = redacted_report(inhabited(patched("windows-cpu", {})), [check]).report.findings
    assert "No such file" in finding.summary
    assert "secret place" in finding.summary and "Kanarienvogel" not in finding.summary


def test_only_the_report_of_a_recording_says_that_the_machine_is_recorded() -> None:
    assert not redacted_report(live_host(), CHECKS[:1]).report.machine.recorded
    assert redacted_report(RecordedHost(patched("windows-cpu", {})), CHECKS[:1]).report.machine.recorded
