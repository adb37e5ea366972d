"""Does `python` start a Python or the Microsoft Store?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.python import ALIAS, STORE_PACKAGE, AliasFacts

ALIASES = "https://docs.python.org/3/using/windows.html"


def judge(alias: AliasFacts) -> Finding:
    if isinstance(alias.program, Unreadable):
        return could_not_look(CHECK.id, "python on PATH", alias.program.reason)
    program = alias.program.value if isinstance(alias.program, Found) else None
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"python is {program}",
        measured=f"python is {program or 'not on PATH'}",
        expected="an installed Python",
        evidence=(Evidence(source="environment", name="python on PATH", value=program),),
    )
    if program is not None and not program.lower().startswith(alias.alias_folder.lower()):
        return ok
    if isinstance(alias.aliases, Unreadable):
        return could_not_look(CHECK.id, alias.alias_folder, alias.aliases.reason)
    names = alias.aliases.value if isinstance(alias.aliases, Found) else ()
    if program is not None and any(name.startswith(STORE_PACKAGE) for name in names):
        return ok
    if program is None and (
        isinstance(alias.aliases, Absent) or "python.exe" not in [name.lower() for name in names]
    ):
        return ok.but(
            status="info", summary="python is not on PATH: use py, or activate the virtual environment"
        )
    return ok.but(
        status="warning",
        summary="python opens the Microsoft Store instead of a Python",
        measured=f"python is an alias in {alias.alias_folder}, and no Python from the Store is installed",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(ALIASES,),
    )


CHECK = Check(
    id="python-alias",
    group="system",
    looks_at="The program that `python` starts in this terminal, and the aliases of the Microsoft Store.",
    why="If it is the alias, `python -m pip install ...` prints 'Python was not found' or opens the Store.",
    by_hand="Settings > Apps > Advanced app settings > App execution aliases: switch python.exe off. Until then, use py -3 or the full path of python.exe.",
    probes=(ALIAS,),
    judge=judge,
    systems=frozenset({"windows"}),
)
