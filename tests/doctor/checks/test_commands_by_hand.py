"""The commands that findings print for Windows do the same in cmd and in PowerShell, and never call setx."""

from __future__ import annotations

import re

import pytest

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host import NvidiaDriver
from doctor.host.recorded import RecordedHost
from doctor.models import Fix
from tests.doctor.checks.cases import all_cases
from tests.doctor.failures.test_failure_machines import FAILURES

SET = re.compile(r"set (\w+)=")


def fixes() -> list[Fix]:
    """The fixes of all recorded Windows machines, once each."""
    looked = [(failure.machine, CHECKS) for failure in FAILURES]
    looked += [(case.machine, (case.check,)) for case in all_cases()]
    found = {
        (finding.fix.id, finding.fix.commands): finding.fix
        for machine, checks in looked
        if machine.identity.os == "windows"
        for finding in diagnose(RecordedHost(machine), checks).findings
        if finding.fix
    }
    return list(found.values())


FIXES = fixes()


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.id)
def test_no_command_calls_setx(fix: Fix) -> None:
    assert not [command for command in fix.commands if "setx" in command.casefold()]


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.id)
def test_no_command_starts_with_a_quoted_program(fix: Fix) -> None:
    assert not [command for command in (*fix.commands, *fix.by_hand) if command.startswith('"')]


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.id)
def test_terminal_variables_are_also_set_for_powershell(fix: Fix) -> None:
    if any("vcvarsall.bat" in command for command in fix.commands):  # its hint says to use a Command Prompt
        return
    for command in fix.commands:
        if named := SET.match(command):
            assert any(other.startswith(f"$env:{named[1]} = ") for other in fix.commands)


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.id)
def test_no_command_uses_a_variable_that_only_cmd_expands(fix: Fix) -> None:
    assert not [command for command in fix.commands if re.search(r"%\w+%", command)]


def test_no_cpu_build_is_suggested_for_an_unsupported_gpu() -> None:
    (failure,) = (one for one in FAILURES if one.row == "B02")
    known = failure.machine.identity.model_copy(update={"python": "3.13.9"})
    assert isinstance(failure.machine.nvml, NvidiaDriver)
    old = failure.machine.nvml.model_copy(update={"driver_version": "446.14"})
    machine = failure.machine.model_copy(update={"identity": known, "nvml": old})
    found = {one.check: one for one in diagnose(RecordedHost(machine), CHECKS).findings}["torch"]
    assert found.hint.startswith("No build of torch fits this machine")
    assert found.fix is None
