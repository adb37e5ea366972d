"""If a check fails because of another one, the fix is for the cause, says so, and both are checked again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from doctor.actions import SetRegistryValue
from doctor.check import Check
from tests.doctor.calls import fixes, run
from tests.doctor.fake_machine import FILE_SYSTEM, LONG_PATHS, ONE, TEMP_DIR, FakeHost, state_check

THERE = SetRegistryValue(key=FILE_SYSTEM, name="Cause", state=ONE)


def cause(applicability: str = "safe") -> Check:
    return state_check("cause", THERE, applicability=applicability)


@pytest.fixture
def host(machine) -> FakeHost:
    host: FakeHost = machine(registry={FILE_SYSTEM: {"LongPathsEnabled": None, "Cause": None}})
    return host


def consequence(of: Check) -> Check:
    return replace(LONG_PATHS, because_of=(of,))


def values(host: FakeHost) -> Any:
    return host.machine.registry[FILE_SYSTEM]


def test_the_plan_of_a_consequence_names_the_cause_and_fixes_it(doctor_with, host) -> None:
    of = cause()
    doctor_with(of, consequence(of), host=host)
    planned = run("fix", "long-paths", "--dry-run")
    assert "fix-cause for cause" in planned.stdout
    assert "long-paths stays open: because of cause" in planned.stdout
    fixed = run("fix", "long-paths", "--yes")
    assert values(host) == {"Cause": ONE, "LongPathsEnabled": None}
    assert fixed.exit_code == 1
    assert "cause" not in fixed.stdout.splitlines()[-1]
    assert fixed.stdout.splitlines()[-1].endswith("aios doctor fix"), "the consequence has a fix of its own"
    assert run("fix", "long-paths", "--yes").exit_code == 0
    assert run("undo").exit_code == run("undo").exit_code == 0
    assert values(host) == {"Cause": None, "LongPathsEnabled": None}


def test_an_unsafe_fix_of_the_cause_requires_the_name_of_the_cause(doctor_with, host) -> None:
    of = cause("unsafe")
    doctor_with(of, consequence(of), host=host)
    told = run("fix", "long-paths", "--yes")
    assert "aios doctor fix cause" in told.stdout
    assert (told.exit_code, fixes(host)) == (1, [])
    assert run("fix", "cause", "--yes").exit_code == 0
    assert values(host)["Cause"] == ONE


def test_consequences_are_checked_again_once_the_cause_is_fixed(doctor_with, host) -> None:
    of = cause()
    doctor_with(of, consequence(of), host=host)
    assert "check was skipped because of it: long-paths" in run().stdout
    seen = run("--fix", "--yes")
    assert "1 error, 1 ok" in seen.stdout
    assert "Because of" not in seen.stdout


@pytest.mark.parametrize(
    ("arguments", "fixed"),
    [
        (["fix", "long-*", "--yes"], {"long-paths"}),
        (["--fix", "--yes", "--only", "temp-dir"], {"temp-dir"}),
        (["--fix", "--yes", "--skip", "temp-*"], {"long-paths"}),
        (["fix", "long-paths", "temp-dir", "--yes"], {"long-paths", "temp-dir"}),
    ],
)
def test_only_chosen_checks_are_fixed(doctor_with, arguments, fixed) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    assert run(*arguments).exit_code == 0
    of = {"long-paths": FILE_SYSTEM, "temp-dir": r"HKCU\Environment"}
    changed = {check for check, key in of.items() if any(host.machine.registry[key].values())}
    assert changed == fixed
