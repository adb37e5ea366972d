"""The plan of a fix run: its fixes and their actions, and the findings that it does not fix. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from doctor.actions import Action
from doctor.host import Frozen
from doctor.models import Finding, Fix


class PlannedFix(Frozen):
    """A fix and the checks whose findings have it."""

    checks: tuple[str, ...]
    fix: Fix


class Unfixed(Frozen):
    """A finding that the plan does not fix, and why."""

    check: str
    reason: str
    hint: str
    commands: tuple[str, ...]


class Step(Frozen):
    """The action at `index` of a fix."""

    fix: str
    index: int
    action: Action

    @property
    def id(self) -> str:
        """The name of the step in the journal."""
        return f"{self.fix}/{self.index}"


class Plan(Frozen):
    """The fixes in the order of their findings, each once, and the findings that are not fixed."""

    fixes: tuple[PlannedFix, ...] = ()
    left: tuple[Unfixed, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All actions, in the order of execution."""
        return tuple(
            Step(fix=planned.fix.id, index=index, action=action)
            for planned in self.fixes
            for index, action in enumerate(planned.fix.actions)
        )


def make_plan(findings: Sequence[Finding], named: Collection[str] = (), unsafe: bool = False) -> Plan:
    """Plan the fixes of the open findings.

    Args:
        findings: the findings of a diagnosis.
        named: checks that the user named. Their fixes may be unsafe, and their findings may be mere information (`info`).
        unsafe: whether to include the unsafe fixes of all checks.
    """
    fixes: dict[str, PlannedFix] = {}
    left: list[Unfixed] = []
    for finding in findings:
        fix = finding.fix
        if finding.because_of and finding.check in named:
            left.append(_unfixed(finding, f"because of {finding.because_of}"))
        worth_fixing = ("error", "warning", "info") if finding.check in named else ("error", "warning")
        if finding.status not in worth_fixing:
            continue
        if fix is None or fix.applicability == "manual" or not fix.actions:
            left.append(_unfixed(finding, "by hand"))
        elif fix.applicability == "unsafe" and not (unsafe or finding.check in named):
            left.append(_unfixed(finding, f"not safe in every case: aios doctor fix {finding.check}"))
        else:
            same = fixes.get(fix.id, PlannedFix(checks=(), fix=fix))
            fixes[fix.id] = PlannedFix(checks=(*same.checks, finding.check), fix=same.fix)
    return Plan(fixes=tuple(fixes.values()), left=tuple(left))


def _unfixed(finding: Finding, reason: str) -> Unfixed:
    commands = finding.fix.commands if finding.fix else ()
    return Unfixed(check=finding.check, reason=reason, hint=finding.hint, commands=commands)
