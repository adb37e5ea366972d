"""Is ninja installed, which compiles several files at once?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.shared import could_not_look
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.build_environment import BUILD_PACKAGES, BuildPackagesFacts
from doctor.probes.system import IDENTITY


def judge(facts: BuildPackagesFacts, identity: Identity) -> Finding:
    package = facts.packages["ninja"]
    version = package.value.version if isinstance(package, Found) else None
    program = facts.ninja.value if isinstance(facts.ninja, Found) else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"ninja {version}" if version else f"ninja in {program}",
        measured=f"package {version or 'missing'}, program {program or 'not on PATH'}",
        expected="the package ninja, or ninja on PATH",
        evidence=(
            Evidence(source="metadata", name="ninja version", value=version),
            Evidence(source="program", name="ninja on PATH", value=program),
        ),
    )
    if version or program:
        return finding
    if isinstance(package, Unreadable):
        return could_not_look(CHECK.id, "the package ninja", package.reason)
    return finding.but(
        status="info",
        summary="No ninja, which is only needed to build packages from source and torch's own extensions",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        fix=build_tool_fixes.install_packages("install-ninja", identity, facts, {"ninja": ""}),
    )


CHECK = Check(
    id="ninja",
    group="build-tools",
    looks_at="The package ninja, and ninja on PATH.",
    why="Without ninja, files are compiled one after the other: building flash-attn then takes many hours.",
    by_hand="Run `pip install ninja` in the environment that builds, and activate that environment.",
    probes=(BUILD_PACKAGES, IDENTITY),
    judge=judge,
)
