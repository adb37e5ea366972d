"""Is Microsoft's C++ compiler installed, for building packages from source?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import PROBE, MsvcFacts

DOWNLOADS = "https://visualstudio.microsoft.com/downloads/"
INSTALL = Fix(
    id="install-build-tools",
    applicability="manual",
    elevated=True,
    reversible=False,
    commands=(
        'winget install Microsoft.VisualStudio.2022.BuildTools --override "--quiet --wait '
        '--add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"',
    ),
)


def _sort_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version))


def judge(msvc: MsvcFacts) -> Finding:
    missing = Finding(
        check=CHECK.id,
        status="info",
        summary="No Microsoft C++ compiler: only building packages from source, and torch.compile on the processor, need one",
        measured="no Visual Studio",
        expected="Visual Studio 2022 or its Build Tools, with the C++ tools",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(DOWNLOADS,),
        fix=INSTALL,
    )
    if isinstance(msvc.installations, Unreadable):
        return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
    if isinstance(msvc.installations, Absent) or not msvc.installations.value:
        return missing
    studios = sorted(msvc.installations.value, key=lambda studio: _sort_key(studio.version), reverse=True)
    evidence = tuple(
        Evidence(source="program", name=f"vswhere: {studio.path}", value=studio.version) for studio in studios
    )
    for studio in studios:
        if isinstance(studio.toolset, Found):
            toolset = studio.toolset.value
            return Finding(
                check=CHECK.id,
                status="ok",
                summary=f"MSVC {toolset}",
                measured=f"MSVC {toolset} in {studio.path}",
                expected=missing.expected,
                evidence=evidence,
            )
    for studio in studios:
        if isinstance(studio.toolset, Unreadable):
            return could_not_look(CHECK.id, f"the C++ tools in {studio.path}", studio.toolset.reason)
    return missing.model_copy(
        update={
            "summary": f"Visual Studio is installed without its C++ tools: {studios[0].path}",
            "measured": "no C++ toolset",
            "evidence": evidence,
        }
    )


CHECK = Check(
    id="msvc",
    group="build-tools",
    looks_at="The Visual Studio installations that vswhere lists, Build Tools included, and the C++ toolset in each.",
    why="Building flash-attn or xformers from source on Windows ends in 'Microsoft Visual C++ 14.0 or greater is required' without it.",
    by_hand="Install the Visual Studio 2022 Build Tools with the workload 'Desktop development with C++'.",
    probes=(PROBE,),
    judge=judge,
    systems=frozenset({"windows"}),
)
