"""What a fix run would do: which fixes, which actions, and what stays for a person. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

from doctor.actions import Action
from doctor.host import Frozen
from doctor.models import Finding, Fix


class PlannedFix(Frozen):
    """A fix and the checks that ask for it."""

    checks: tuple[str, ...]
    fix: Fix


class Leftover(Frozen):
    """A finding that stays open, and why the doctor does not touch it."""

    check: str
    reason: str
    hint: str
    commands: tuple[str, ...]


class Step(Frozen):
    """One action of the plan: the one at `index` in its fix."""

    fix: str
    index: int
    action: Action

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"{self.fix}/{self.index}"


class Plan(Frozen):
    """Fixes in the order of their findings, each once; and the findings that stay open."""

    fixes: tuple[PlannedFix, ...] = ()
    left: tuple[Leftover, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every action in the order of execution."""
        return tuple(
            Step(fix=planned.fix.id, index=index, action=action)
            for planned in self.fixes
            for index, action in enumerate(planned.fix.actions)
        )


def make_plan(findings: Sequence[Finding], named: Collection[str] = (), unsafe: bool = False) -> Plan:
    """Plan the fixes of the open findings.

    Args:
        findings: of a diagnosis.
        named: the checks that were asked for by name: their fixes may be unsafe.
        unsafe: take the fixes that are not safe, too.

    What is mere information needs no fix: it is taken by name only.
    """
    fixes: dict[str, PlannedFix] = {}
    left: list[Leftover] = []
    for finding in findings:
        fix = finding.fix
        if finding.because_of and finding.check in named:
            left.append(_leave(finding, f"because of {finding.because_of}"))
        if finding.status not in ("error", "warning") and not (
            finding.status == "info" and finding.check in named
        ):
            continue
        if fix is None or fix.applicability == "manual" or not fix.actions:
            left.append(_leave(finding, "by hand"))
        elif fix.applicability == "unsafe" and not (unsafe or finding.check in named):
            left.append(_leave(finding, f"not safe in every case: aios doctor fix {finding.check}"))
        else:
            same = fixes.get(fix.id, PlannedFix(checks=(), fix=fix))
            fixes[fix.id] = PlannedFix(checks=(*same.checks, finding.check), fix=same.fix)
    return Plan(fixes=tuple(fixes.values()), left=tuple(left))


def _leave(finding: Finding, reason: str) -> Leftover:
    commands = finding.fix.commands if finding.fix else ()
    return Leftover(check=finding.check, reason=reason, hint=finding.hint, commands=commands)


def hash_of(steps: Sequence[Step]) -> str:
    """SHA-256 of what would be done, so that two processes can agree on it without trusting each other."""
    content = [step.model_dump(mode="json") for step in steps]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
