"""Damaged files of a run: the intact parts are read, and nothing crashes."""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from doctor.diagnosis import diagnose
from doctor.fixes.executor import changes_in_effect, execute
from doctor.fixes.journal import ACTIONS, Journal
from doctor.fixes.plan import make_plan
from doctor.host import Absent
from doctor.host.machine import RecordedMachine
from doctor.runs.history import RecordedPlan, read_report, read_run, save_plan, save_report
from doctor.runs.make_report import make_report
from doctor.runs.reminders import remind
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, FakeHost, identity, install_runtime, state_check

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
FILES = ("report.json", "plan.json", ACTIONS)


def host() -> FakeHost:
    machine = {
        "identity": identity(),
        "registry": {
            r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem": {"LongPathsEnabled": None},
            r"HKCU\Environment": {"TEMP": None},
        },
        "directories": {"C:\\": [], "C:\\Temp": None},
    }
    return FakeHost(RecordedMachine.model_validate(machine))


def written() -> dict[str, bytes]:
    """The files of an undamaged run."""
    fixed = host()
    fixed.exit_code = 3010
    checks = [LONG_PATHS, TEMP_DIR, state_check("vc-redist", install_runtime())]
    findings = diagnose(fixed, checks).findings
    plan = make_plan(findings)
    report = make_report(fixed.identity, findings, started_at=NOON, duration_seconds=1.0, recorded=False)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        save_report(report, run)
        save_plan(RecordedPlan(fixes=plan.fixes, left=plan.left, boot_time=1.0), run)
        execute(plan, fixed, run)
        Journal(run / ACTIONS).ended()
        return {name: (run / name).read_bytes() for name in FILES}


WHOLE = written()


@given(st.sampled_from(FILES), st.data())
def test_a_damaged_file_does_not_crash(name: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if how == "flip":
            content[at] = data.draw(st.integers(0, 255))
        elif how == "insert":
            content[at:at] = data.draw(st.binary(max_size=8))
        elif at:
            del content[at:]
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder)
        for other, whole in WHOLE.items():
            (damaged / other).write_bytes(whole)
        (damaged / name).write_bytes(content)
        run = read_run(damaged)
        read_report(damaged)
        changes_in_effect(damaged, host())
        remind([run], [], Absent(), windows=True)


def test_an_undamaged_run_is_read_completely(tmp_path: Path) -> None:
    for name, content in WHOLE.items():
        (tmp_path / name).write_bytes(content)
    run = read_run(tmp_path)
    assert [entry.progress for entry in run.entries] == ["done"] * 4
    assert [entry.restart for entry in run.entries] == [False, False, False, True]
    assert run.plan.checks == {"long-paths", "temp-dir", "vc-redist"}
    assert run.ended and not run.restarted
