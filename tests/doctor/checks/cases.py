"""The cases of `tests/machines/cases`: a healthy machine with a few changes, and the finding that is expected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from doctor.check import Check
from doctor.checks import CHECKS
from doctor.host.machine import RecordedMachine

MACHINES = Path(__file__).parents[2] / "machines"
DEPTH = {"nvml": 0, "registry": 2}  # nesting levels that a patch merges in a section; 1 in the others


@dataclass(frozen=True)
class Case:
    """One machine for one check. `summary` and `hint` are parts of the expected texts; `applicability` and `actions` describe the fix."""

    check: Check
    name: str
    kind: str
    machine: RecordedMachine
    status: str
    summary: str
    hint: str
    applicability: str | None
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.check.id}: {self.name}"


@cache
def machine_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((MACHINES / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _replaced(value: Any, patch: Any, depth: int) -> Any:
    """Return `value` with its entries replaced by those of `patch`, merged by name down to `depth`."""
    if depth == 0 or not isinstance(patch, dict) or set(patch) == {"unreadable"}:
        return patch
    merged = dict(value or {})
    for name, entry in patch.items():
        merged[name] = _replaced(merged.get(name), entry, depth - 1)
    return merged


def patched(name: str, patch: dict[str, Any], renamed: dict[str, str] | None = None) -> RecordedMachine:
    """Return the machine `name` with folders renamed and the patch merged into its sections."""
    text = json.dumps(machine_json(name), ensure_ascii=False)
    for old, new in (renamed or {}).items():
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new, ensure_ascii=False)[1:-1])
    machine = json.loads(text)
    for section, entries in patch.items():
        machine[section] = _replaced(machine.get(section), entries, DEPTH.get(section, 1))
    return RecordedMachine.model_validate(machine)


def cases_of(check: Check) -> list[Case]:
    """The cases of one check, in the order of its file."""
    rows = json.loads((MACHINES / "cases" / f"{check.id}.json").read_text(encoding="utf-8"))
    return [_case(check, **row) for row in rows]


def _case(
    check: Check,
    name: str,
    kind: str,
    machine: str,
    expect: dict[str, Any],
    patch: dict[str, Any] | None = None,
) -> Case:
    fix = expect.get("fix") or {}
    return Case(
        check=check,
        name=name,
        kind=kind,
        machine=patched(machine, patch or {}),
        status=expect["status"],
        summary=expect["summary"],
        hint=expect.get("hint", ""),
        applicability=fix.get("applicability"),
        actions=tuple(fix.get("actions", ())),
    )


def all_cases() -> list[Case]:
    return [case for check in CHECKS for case in cases_of(check)]
