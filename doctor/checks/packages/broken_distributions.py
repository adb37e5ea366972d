"""Did pip leave something half done in this environment?"""

from __future__ import annotations

from doctor.actions import MakeDirectory, MoveFolder
from doctor.check import Check
from doctor.checks.shared import could_not_look, why_not
from doctor.host import Absent, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.site_packages import SITE_PACKAGES, Damage, SitePackages
from doctor.probes.system import IDENTITY

LINK = "https://packaging.python.org/en/latest/specifications/recording-installed-packages/"


def judge(reading: Reading[SitePackages], identity: Identity) -> Finding:
    if not isinstance(reading, Found):
        return could_not_look(CHECK.id, "the installed packages", why_not(reading))
    site = reading.value
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="Every installed package is whole",
        measured=_measured(site),
        expected="no renamed folders, and metadata for every package",
        evidence=(
            Evidence(source="file", name=f"renamed folders in {site.folder}", value=list(site.remains)),
            *(Evidence(source="file", name=each.package, value=each.what) for each in site.damaged),
        ),
    )
    if site.damaged:
        return finding.model_copy(update=_damaged(site))
    if not site.remains:
        return finding
    if isinstance(site.names_aside, Unreadable):
        return could_not_look(CHECK.id, site.aside, site.names_aside.reason)
    actions = _actions(site, identity)
    return finding.model_copy(
        update={
            "status": "warning",
            "summary": f"pip could not remove old files: {', '.join(site.remains)} in site-packages",
            "impact": CHECK.why,
            "hint": _close(site) + "Move these folders out of site-packages.",
            "evidence": (*finding.evidence, *_users(site)),
            "fix": Fix(
                id="move-remains-aside",
                applicability="safe",
                commands=tuple(_command(action, identity) for action in actions),
                actions=actions,
            ),
        }
    )


def _damaged(site: SitePackages) -> dict[str, object]:
    first: Damage = site.damaged[0]
    also = "" if len(site.damaged) == 1 else f" (and {len(site.damaged) - 1} more)"
    return {
        "status": "error" if any(each.package == "torch" for each in site.damaged) else "warning",
        "summary": f"{first.package} is only half installed: {first.what}{also}",
        "impact": "pip sees no package that it could upgrade or remove, and Python imports a part of one.",
        "hint": f"{_close(site)}Remove what is left of it in {site.folder}, folder and metadata, and install it again.",
        "links": (LINK,),
        "evidence": (
            *(Evidence(source="file", name=each.package, value=each.what) for each in site.damaged),
            *_users(site),
        ),
    }


def _measured(site: SitePackages) -> str:
    found = [*site.remains, *(f"{each.package}: {each.what}" for each in site.damaged)]
    return "; ".join(found) or "nothing half done"


def _users(site: SitePackages) -> tuple[Evidence, ...]:
    if isinstance(site.users, Absent):
        return ()
    if isinstance(site.users, Unreadable):
        value = [f"unreadable: {site.users.reason}"]
    else:
        value = [f"{program.name} ({program.pid})" for program in site.users.value]
    return (Evidence(source="process", name="other programs that use this environment", value=value),)


def _close(site: SitePackages) -> str:
    """What has to end first: Windows moves no folder of which a file is loaded."""
    if not isinstance(site.users, Found) or not site.users.value:
        return ""
    programs = ", ".join(f"{program.name} (process {program.pid})" for program in site.users.value)
    return f"First close the programs that use this environment: {programs}. "


def _actions(site: SitePackages, identity: Identity) -> tuple[MakeDirectory | MoveFolder, ...]:
    taken = (
        {name.casefold() for name in site.names_aside.value} if isinstance(site.names_aside, Found) else set()
    )
    actions: list[MakeDirectory | MoveFolder] = []
    if isinstance(site.names_aside, Absent):
        actions.append(MakeDirectory(path=site.aside))
    for name in site.remains:
        names = (name, *(f"{name}.{number}" for number in range(1, len(taken) + 2)))
        free = next(each for each in names if each.casefold() not in taken)
        actions.append(
            MoveFolder(
                path=str(identity.path(site.folder) / name), aside=str(identity.path(site.aside) / free)
            )
        )
    return tuple(actions)


def _command(action: MakeDirectory | MoveFolder, identity: Identity) -> str:
    if isinstance(action, MakeDirectory):
        return f'mkdir "{action.path}"'
    return f'{"move" if identity.os == "windows" else "mv"} "{action.path}" "{action.aside}"'


CHECK = Check(
    id="broken-distributions",
    group="packages",
    looks_at="The folder of installed packages: folders that pip renamed to ~…, metadata without METADATA, and torch, flash-attn, xformers and Triton without metadata or without files.",
    why="pip renames what it cannot delete because a program still holds it; the remains take gigabytes, and every later pip warns of an 'invalid distribution'.",
    by_hand="Close every program that runs from this environment; move the folders whose names begin with ~ out of site-packages; install again what is only half there.",
    probes=(SITE_PACKAGES, IDENTITY),
    judge=judge,
)
