"""Is PATH short enough for command files, and does each of its entries do something?"""

from __future__ import annotations

import re

from doctor.actions import EditUserPath
from doctor.check import Check
from doctor.checks.shared import could_not_look, several
from doctor.host import Found, Reading, RegistryValue, Unreadable
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.models import Evidence, Finding, Fix
from doctor.probes.path_variable import SEARCH_PATH, VALUE, Entry, SearchPath, SearchPathFacts

COMMAND_LINE = 8191  # characters that cmd.exe takes; a command file that extends PATH writes it on one line
LONGEST = 6000  # leaves vcvarsall.bat what it adds
NAMED = 3  # entries that a summary names
EDITOR = "rundll32 sysdm.cpl,EditEnvironmentVariables"  # Windows' own
BY_HAND = Fix(id="shorten-path", applicability="manual", restart="shell", commands=(EDITOR,))
LINKS = (
    "https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation",
)


def judge(facts: SearchPathFacts) -> Finding:
    for key, part in ((USER_ENVIRONMENT, facts.user), (SYSTEM_ENVIRONMENT, facts.system)):
        if isinstance(part, Unreadable):
            return could_not_look(CHECK.id, f"{VALUE} in {key}", part.reason)
    user, system = _entries(facts.user), _entries(facts.system)
    again = repeated(system, user)
    shorter = Found(_without(facts.user.value, again)) if isinstance(facts.user, Found) else facts.user
    length = _length(facts, facts.user)
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"PATH is {length} characters long, and each of its {len(system) + len(user)} entries counts",
        measured=f"{length} characters for new programs, {len(facts.process)} in this terminal; "
        f"repeated: {len(again)}, missing: {len(facts.missing)}",
        expected=f"at most {LONGEST} characters, each folder once",
        evidence=(
            Evidence(source="environment", name="PATH", value=facts.process),
            *(
                Evidence(source="registry", name=f"{key}\\{VALUE}", value=_shown(part))
                for key, part in ((USER_ENVIRONMENT, facts.user), (SYSTEM_ENVIRONMENT, facts.system))
            ),
        ),
    )

    def finding(status: str, summary: str, hint: str, fix: Fix | None) -> Finding:
        found = {"status": status, "summary": summary, "impact": CHECK.why, "hint": hint, "fix": fix}
        return ok.model_copy(update={**found, "links": LINKS})

    if length > LONGEST:
        healed = isinstance(shorter, Found) and _length(facts, shorter) <= LONGEST
        removes = f"the {len(again)} entries of your own part that repeat earlier ones"
        return finding(
            "error" if length > COMMAND_LINE else "warning",
            f"PATH is {length} characters long: too long for command files that extend it",
            f"Let the doctor remove {removes}." if healed else CHECK.by_hand,
            _remove_repeated(shorter.value) if healed and isinstance(shorter, Found) else BY_HAND,
        )
    for part, whose in ((facts.user, "your own"), (facts.system, "the system's")):
        if isinstance(part, Found) and (name := _never_expanded(part.value)):
            mine = part is facts.user
            hint = "Let the doctor give your part the type that expands them." if mine else CHECK.by_hand
            summary = f"{name} in {whose} part of PATH is never replaced: the value's type is REG_SZ"
            return finding("warning", summary, hint, _expand(part.value) if mine else BY_HAND)
    if len(facts.process) > LONGEST:
        summary = f"PATH of this terminal alone is {len(facts.process)} characters long"
        return finding("warning", summary, "Open a new terminal.", None)
    if again and isinstance(shorter, Found):
        summary = f"Repeated in your own part of PATH: {several([entry.written for entry in again], NAMED)}"
        return finding(
            "info", summary, "Let the doctor remove what is repeated.", _remove_repeated(shorter.value)
        )
    idle = (*facts.missing, *(entry.written for entry in repeated((), system)))
    if idle:
        summary = f"PATH holds what is not there or repeated: {several(idle, NAMED)}"
        return finding("info", summary, CHECK.by_hand, BY_HAND)
    return ok


def _entries(part: Reading[SearchPath]) -> tuple[Entry, ...]:
    return part.value.entries if isinstance(part, Found) else ()


def repeated(system: tuple[Entry, ...], user: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The user's entries that name a folder named before: nothing is ever found there first."""
    seen = {entry.key for entry in system}
    later = []
    for entry in user:
        if entry.key and entry.key in seen:
            later.append(entry)
        seen.add(entry.key)
    return tuple(later)


def _without(part: SearchPath, unwanted: tuple[Entry, ...]) -> SearchPath:
    """All but these very entries, not those that equal them."""
    kept = tuple(entry for entry in part.entries if not any(entry is one for one in unwanted))
    value = ";".join(entry.written for entry in kept)
    return SearchPath(RegistryValue(type=part.value.type, value=value), kept)


def _length(facts: SearchPathFacts, user: Reading[SearchPath]) -> int:
    """Characters of the PATH that new programs get."""
    return len(";".join(entry.folder for entry in (*_entries(facts.system), *_entries(user))))


def _rewrite(fix: str, user: RegistryValue) -> Fix:
    action = EditUserPath(state=user)
    return Fix(id=fix, applicability="safe", restart="shell", commands=(EDITOR,), actions=(action,))


def _remove_repeated(shorter: SearchPath) -> Fix:
    return _rewrite("remove-path-duplicates", shorter.value)


def _expand(user: SearchPath) -> Fix:
    return _rewrite("expand-user-path", RegistryValue(type="REG_EXPAND_SZ", value=user.value.value))


def _never_expanded(part: SearchPath) -> str | None:
    """The first %NAME% that stays as it is for the type's sake."""
    found = re.search(r"%[^%;\\]+%", str(part.value.value)) if part.value.type == "REG_SZ" else None
    return found and found[0]


def _shown(part: Reading[SearchPath]) -> str | None:
    return f"{part.value.value.value} ({part.value.value.type})" if isinstance(part, Found) else None


CHECK = Check(
    id="path-variable",
    group="system",
    looks_at="PATH: the user's part and the system's with their registry types, and this terminal's.",
    why="cmd.exe takes lines of 8,191 characters: beyond that vcvarsall.bat and activate.bat fail with 'The input line is too long', and a build finds no compiler. Each wrong entry costs room and hides mistakes.",
    by_hand=f"Take out of PATH what is repeated or gone: {EDITOR}. Never use setx for it: that cuts PATH at 1,024 characters.",
    probes=(SEARCH_PATH,),
    judge=judge,
    systems=frozenset({"windows"}),
)
