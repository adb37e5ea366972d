"""Did pip leave incomplete or half-removed packages in this environment?"""

from __future__ import annotations

from doctor.actions import MakeDirectory, MoveFolder
from doctor.check import Check
from doctor.checks.requires import present
from doctor.checks.shared import could_not_look, path_of, value_of
from doctor.host import Absent, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding, FindingChanges, Fix
from doctor.probes.site_packages import SITE_PACKAGES, SitePackages
from doctor.probes.system import IDENTITY

LINK = "https://packaging.python.org/en/latest/specifications/recording-installed-packages/"


def judge(reading: Reading[SitePackages], identity: Identity) -> Finding:
    site = value_of(reading)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="No incomplete or half-removed packages",
        measured=_measured(site),
        expected="no renamed folders, and metadata for every package",
        evidence=(
            Evidence(source="file", name=f"renamed folders in {site.folder}", value=list(site.remains)),
            *(Evidence(source="file", name=each.package, value=each.what) for each in site.damaged),
        ),
    )
    if site.damaged:
        return finding.but(**_damaged(site))
    if not site.remains:
        return finding
    if isinstance(site.names_aside, Unreadable):
        return could_not_look(CHECK.id, site.aside, site.names_aside.reason)
    return finding.but(
        status="warning",
        summary=f"pip left folders in site-packages that it could not delete: {', '.join(site.remains)}",
        impact=CHECK.why,
        hint=_close(site) + "Move these folders out of site-packages.",
        evidence=(*finding.evidence, *_users(site)),
        fix=_move_aside(site, identity),
    )


def _damaged(site: SitePackages) -> FindingChanges:
    first, *others = site.damaged
    also = f" (and {len(others)} more)" if others else ""
    return {
        "status": "error" if any(each.package == "torch" for each in site.damaged) else "warning",
        "summary": f"{first.package} is incomplete: {first.what}{also}",
        "impact": "pip cannot upgrade or remove the package, and Python imports only a part of it.",
        "hint": f"{_close(site)}Delete its folder and its metadata from {site.folder}, then reinstall it.",
        "links": (LINK,),
        "evidence": (
            *(Evidence(source="file", name=each.package, value=each.what) for each in site.damaged),
            *_users(site),
        ),
    }


def _measured(site: SitePackages) -> str:
    seen = [*site.remains, *(f"{each.package}: {each.what}" for each in site.damaged)]
    return "; ".join(seen) or "no renamed folders and no incomplete packages"


def _users(site: SitePackages) -> tuple[Evidence, ...]:
    if isinstance(site.users, Absent):
        return ()
    if isinstance(site.users, Unreadable):
        value = [f"unreadable: {site.users.reason}"]
    else:
        value = [f"{program.name} ({program.pid})" for program in site.users.value]
    return (Evidence(source="process", name="other programs that use this environment", value=value),)


def _close(site: SitePackages) -> str:
    """Which programs to close first: Windows does not move a folder while a file in it is loaded."""
    if not isinstance(site.users, Found) or not site.users.value:
        return ""
    programs = ", ".join(f"{program.name} (process {program.pid})" for program in site.users.value)
    return f"First close the programs that use this environment: {programs}. "


def _move_aside(site: SitePackages, identity: Identity) -> Fix:
    actions = _actions(site, identity)
    return Fix(
        id="move-remains-aside",
        applicability="safe",
        commands=tuple(_command(action, identity) for action in actions),
        actions=actions,
    )


def _actions(site: SitePackages, identity: Identity) -> tuple[MakeDirectory | MoveFolder, ...]:
    """The folder to move to is made if it is absent; a name that exists there gets a number."""
    names = site.names_aside.value if isinstance(site.names_aside, Found) else ()
    taken = {name.casefold() for name in names}
    actions: list[MakeDirectory | MoveFolder] = []
    if isinstance(site.names_aside, Absent):
        actions.append(MakeDirectory(path=site.aside))
    for name in site.remains:
        candidates = (name, *(f"{name}.{number}" for number in range(1, len(taken) + 2)))
        free = next(each for each in candidates if each.casefold() not in taken)
        path, aside = identity.path(site.folder) / name, identity.path(site.aside) / free
        actions.append(MoveFolder(path=str(path), aside=str(aside)))
    return tuple(actions)


def _command(action: MakeDirectory | MoveFolder, identity: Identity) -> str:
    if isinstance(action, MakeDirectory):
        return f"mkdir {path_of(identity, action.path)}"
    move = "move" if identity.os == "windows" else "mv"
    return f"{move} {path_of(identity, action.path)} {path_of(identity, action.aside)}"


CHECK = Check(
    id="broken-distributions",
    group="packages",
    looks_at="The folder of installed packages: folders that pip renamed to ~…, metadata folders without METADATA, and torch, flash-attn, xformers and Triton without metadata or without files.",
    why="pip renames what it cannot delete because a program holds it open. The leftovers take gigabytes, and every later pip run warns of an 'invalid distribution'.",
    by_hand="Close every program that runs from this environment. Move the folders whose names begin with ~ out of site-packages. Reinstall the incomplete packages.",
    probes=(SITE_PACKAGES, IDENTITY),
    judge=judge,
    requires=(present(SITE_PACKAGES, "the installed packages"),),
)
