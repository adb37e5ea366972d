"""A failure that another check explains names the root cause and is skipped."""

from __future__ import annotations

from dataclasses import replace

from doctor.check import Check
from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.models import Finding
from tests.doctor.fake_machine import LONG_PATHS


def failing(check_id: str, status: str, *because_of: Check) -> Check:
    found = Finding.model_validate({"check": check_id, "status": status, "summary": f"{check_id} fails"})
    return replace(LONG_PATHS, id=check_id, probes=(), judge=lambda: found, because_of=because_of)


def told(machine, *checks: Check) -> dict[str, str]:
    """The status of each check, or the cause that explains its failure."""
    findings = diagnose(machine(), checks).findings
    return {f.check: f"because of {f.because_of}" if f.because_of else f.status for f in findings}


def test_the_root_is_named_through_several_steps(machine) -> None:
    root = failing("root", "error")
    steps = [root]
    for number in range(4):
        steps.append(failing(f"step-{number}", "error", steps[-1]))
    assert told(machine, *steps) == {
        "root": "error",
        **{f"step-{number}": "because of root" for number in range(4)},
    }


def test_a_step_that_is_fine_does_not_hide_the_root(machine) -> None:
    """With a driver that is too old, the right build of torch does not help."""
    root = failing("driver", "error")
    build = failing("build", "ok", root)
    assert told(machine, failing("backend", "error", build)) == {
        "driver": "error",
        "backend": "because of driver",
    }


def test_the_first_of_two_causes_is_named(machine) -> None:
    first, second = failing("first", "error"), failing("second", "error")
    assert told(machine, first, second, failing("leaf", "error", first, second))["leaf"] == "because of first"


def test_an_unknown_cause_explains_only_unknown_findings(machine) -> None:
    dark = failing("dark", "unknown")
    judged = told(machine, dark, failing("blind", "unknown", dark), failing("broken", "error", dark))
    assert judged == {"dark": "unknown", "blind": "because of dark", "broken": "error"}


def test_a_cause_that_did_not_fail_is_not_added_to_the_report(machine) -> None:
    fine, warned = failing("fine", "ok"), failing("warned", "warning")
    assert told(machine, failing("leaf", "error", fine, warned)) == {"leaf": "error"}


def test_no_check_is_its_own_cause() -> None:
    """A circle would never end. Imports prevent one, but `replace` does not."""

    def above(check: Check, path: tuple[str, ...] = ()) -> None:
        assert check.id not in path, (*path, check.id)
        for cause in check.because_of:
            above(cause, (*path, check.id))

    for check in CHECKS:
        above(check)
