"""Is PATH short enough for batch files, and is every entry in it of use?"""

from __future__ import annotations

import re

from doctor.actions import EditUserPath
from doctor.check import Check
from doctor.checks.requires import readable
from doctor.checks.shared import several
from doctor.host import Found, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.path_variable import SEARCH_PATH, VALUE, Entry, SearchPath, SearchPathFacts

COMMAND_LINE = 8191  # cmd.exe's longest line; a batch file that extends PATH writes it on one line
LONGEST = 6000  # leaves room for what vcvarsall.bat adds
NAMED = 3  # entries that a summary names
EDITOR = "rundll32 sysdm.cpl,EditEnvironmentVariables"  # Windows' own
BY_HAND = Fix(id="shorten-path", applicability="manual", restart="shell", commands=(EDITOR,))
LINKS = (
    "https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation",
)


def judge(facts: SearchPathFacts) -> Finding:
    user, system = _entries(facts.user), _entries(facts.system)
    duplicates = repeated(system, user)
    length = _length(facts, user)
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"PATH is {length} characters long, and none of its {len(system) + len(user)} entries is repeated or missing",
        measured=f"{length} characters for new programs, {len(facts.process)} in this terminal; "
        f"repeated: {len(duplicates)}, missing: {len(facts.missing)}",
        expected=f"at most {LONGEST} characters, each folder once",
        evidence=(
            Evidence(source="environment", name="PATH", value=facts.process),
            Evidence(source="registry", name=f"{USER_ENVIRONMENT}\\{VALUE}", value=_shown(facts.user)),
            Evidence(source="registry", name=f"{SYSTEM_ENVIRONMENT}\\{VALUE}", value=_shown(facts.system)),
        ),
    )
    return (
        _too_long(ok, facts, duplicates, length)
        or _not_expanded(ok, facts)
        or _too_long_here(ok, facts)
        or _useless_entries(ok, facts, duplicates)
        or ok
    )


def _problem(ok: Finding, status: Status, summary: str, hint: str, fix: Fix | None) -> Finding:
    return ok.but(status=status, summary=summary, impact=CHECK.why, hint=hint, fix=fix, links=LINKS)


def _too_long(
    ok: Finding, facts: SearchPathFacts, duplicates: tuple[Entry, ...], length: int
) -> Finding | None:
    if length <= LONGEST:
        return None
    status: Status = "error" if length > COMMAND_LINE else "warning"
    summary = f"PATH is {length} characters long: too long for batch files that extend it"
    if isinstance(facts.user, Found):
        shorter = _without(facts.user.value, duplicates)
        if _length(facts, shorter.entries) <= LONGEST:
            hint = f"Let the doctor remove the {len(duplicates)} duplicate entries in your user's part."
            return _problem(ok, status, summary, hint, _rewrite("remove-path-duplicates", shorter.value))
    return _problem(ok, status, summary, CHECK.by_hand, BY_HAND)


def _not_expanded(ok: Finding, facts: SearchPathFacts) -> Finding | None:
    """The finding if a %NAME% stays as it is because the registry value has the wrong type."""
    summary = "{} in {} part of PATH is never expanded, because the value's type is REG_SZ"
    if isinstance(facts.user, Found) and (name := _unexpanded_name(facts.user.value)):
        hint = "Let the doctor change the value's type to REG_EXPAND_SZ."
        state = RegistryValue(type="REG_EXPAND_SZ", value=facts.user.value.value.value)
        return _problem(
            ok, "warning", summary.format(name, "your user's"), hint, _rewrite("expand-user-path", state)
        )
    if isinstance(facts.system, Found) and (name := _unexpanded_name(facts.system.value)):
        return _problem(ok, "warning", summary.format(name, "the system's"), CHECK.by_hand, BY_HAND)
    return None


def _too_long_here(ok: Finding, facts: SearchPathFacts) -> Finding | None:
    if len(facts.process) <= LONGEST:
        return None
    summary = f"PATH is {len(facts.process)} characters long in this terminal only"
    return _problem(ok, "warning", summary, "Open a new terminal.", None)


def _useless_entries(ok: Finding, facts: SearchPathFacts, duplicates: tuple[Entry, ...]) -> Finding | None:
    if duplicates and isinstance(facts.user, Found):
        summary = f"Repeated in your user's part of PATH: {several([e.written for e in duplicates], NAMED)}"
        shorter = _without(facts.user.value, duplicates)
        fix = _rewrite("remove-path-duplicates", shorter.value)
        return _problem(ok, "info", summary, "Let the doctor remove the duplicates.", fix)
    useless = (*facts.missing, *(entry.written for entry in repeated((), _entries(facts.system))))
    if not useless:
        return None
    summary = f"PATH contains missing or repeated folders: {several(useless, NAMED)}"
    return _problem(ok, "info", summary, CHECK.by_hand, BY_HAND)


def _entries(part: Reading[SearchPath]) -> tuple[Entry, ...]:
    return part.value.entries if isinstance(part, Found) else ()


def repeated(system: tuple[Entry, ...], user: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return the user's entries that name a folder already listed before, which have no effect."""
    seen = {entry.key for entry in system}
    later = []
    for entry in user:
        if entry.key and entry.key in seen:
            later.append(entry)
        seen.add(entry.key)
    return tuple(later)


def _without(part: SearchPath, unwanted: tuple[Entry, ...]) -> SearchPath:
    """Remove these entries by identity: an equal entry that comes first stays."""
    kept = tuple(entry for entry in part.entries if not any(entry is one for one in unwanted))
    value = ";".join(entry.written for entry in kept)
    return SearchPath(RegistryValue(type=part.value.type, value=value), kept)


def _length(facts: SearchPathFacts, user: tuple[Entry, ...]) -> int:
    """The length of the PATH that new programs get."""
    return len(";".join(entry.folder for entry in (*_entries(facts.system), *user)))


def _rewrite(fix: str, user: RegistryValue) -> Fix:
    action = EditUserPath(state=user)
    return Fix(id=fix, applicability="safe", restart="shell", commands=(EDITOR,), actions=(action,))


def _unexpanded_name(part: SearchPath) -> str | None:
    """The first %NAME% in a value whose type does not expand it."""
    found = re.search(r"%[^%;\\]+%", str(part.value.value)) if part.value.type == "REG_SZ" else None
    return found and found[0]


def _shown(part: Reading[SearchPath]) -> str | None:
    return f"{part.value.value.value} ({part.value.value.type})" if isinstance(part, Found) else None


CHECK = Check(
    id="path-variable",
    group="system",
    looks_at="PATH: the user's and the system's registry values with their types, and the value in this terminal.",
    why="cmd.exe accepts lines of up to 8,191 characters. Beyond that vcvarsall.bat and activate.bat fail with 'The input line is too long', and builds find no compiler. Useless entries take up that space and hide mistakes.",
    by_hand=f"Run `{EDITOR}`, and remove repeated and missing folders from PATH. Do not use setx: it cuts PATH off at 1,024 characters.",
    probes=(SEARCH_PATH,),
    judge=judge,
    systems=frozenset({"windows"}),
    requires=(
        readable(SEARCH_PATH, f"{VALUE} in {USER_ENVIRONMENT}", lambda facts: facts.user),
        readable(SEARCH_PATH, f"{VALUE} in {SYSTEM_ENVIRONMENT}", lambda facts: facts.system),
    ),
)
