"""A terminal keeps the TEMP that it was opened with, even after the user's variables have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doctor.checks.system.temp_dir import CHECK
from doctor.diagnosis import diagnose
from doctor.fixes.plan import make_plan
from doctor.host.recorded import RecordedHost
from doctor.runs.doctor_run import Target
from doctor.runs.fix_run import run_fix
from tests.doctor.checks.cases import patched

OLD = r"C:\Users\Zoë B\AppData\Local\Temp"


def old_terminal(state: Path, **user: str) -> RecordedHost:
    values: dict[str, Any] = {name: {"type": "REG_SZ", "value": value} for name, value in user.items()}
    patch = {
        "environment": {"TEMP": OLD, "TMP": OLD, "AIOS_HOME": str(state)},
        "registry": {r"HKCU\Environment": values},
        "directories": {OLD: [], r"C:\Temp": []},
    }
    return RecordedHost(patched("windows-rtx4090", patch))


def test_an_old_terminal_is_not_offered_the_same_fix_again(tmp_path: Path) -> None:
    (finding,) = diagnose(old_terminal(tmp_path, TEMP=r"C:\Temp", TMP=r"C:\Temp"), [CHECK]).findings
    assert (finding.status, finding.fix, finding.hint) == ("warning", None, "Open a new terminal.")
    assert make_plan([finding]).fixes == ()


def test_a_fix_is_verified_although_this_terminal_keeps_the_old_value(tmp_path: Path) -> None:
    """TEMP is fixed already, so this process's TEMP stays as it is; TMP is not fixed."""
    host = old_terminal(tmp_path, TEMP=r"C:\Temp", TMP=OLD)
    findings = diagnose(host, [CHECK]).findings
    run = run_fix(make_plan(findings), findings, Target(host, (CHECK,)), None)
    assert [outcome.result for outcome in run.outcomes] == ["already so", "already so", "applied"]
    assert not run.failed
    assert "this terminal still has the old value" in run.findings[0].summary
