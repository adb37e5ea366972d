"""Are the Python packages here that building flash-attn takes, in versions that torch works with?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.shared import could_not_look, torch_is
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.build_environment import BUILD_PACKAGES, BuildPackagesFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.source_build import setuptools_requirement

NEEDED = (
    "pip",
    "setuptools",
    "wheel",
    "packaging",
    "psutil",
)  # flash-attn's setup.py imports all but the first
LINK = "https://github.com/Dao-AILab/flash-attention#installation-and-features"


def judge(
    facts: BuildPackagesFacts,
    identity: Identity,
    nvidia: NvidiaFacts,
    torch: TorchFacts,
    flash_attn: FlashAttnFacts,
) -> Finding:
    this = torch_is(torch)
    bounds = setuptools_requirement(this.version if this else None, identity.python_minor)
    wanted = dict.fromkeys(NEEDED, "") | {"setuptools": bounds}
    missing: dict[str, str] = {}
    unfit: dict[str, str] = {}
    versions: dict[str, str | None] = {}
    for name, specifier in wanted.items():
        reading = facts.packages[name]
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, f"the package {name}", reading.reason)
        versions[name] = reading.value.version if isinstance(reading, Found) else None
        if isinstance(reading, Absent):
            missing[name] = specifier
        elif not SpecifierSet(specifier).contains(reading.value.version, prereleases=True):
            unfit[name] = specifier
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"pip, wheel, packaging, psutil and setuptools {versions['setuptools']}",
        measured=", ".join(f"{name} {version or 'missing'}" for name, version in versions.items()),
        expected=", ".join(f"{name}{specifier}" for name, specifier in wanted.items()),
        evidence=tuple(
            Evidence(source="metadata", name=f"{name} version", value=version)
            for name, version in versions.items()
        ),
    )
    if not missing and not unfit:
        return finding
    fix = build_tool_fixes.packages("install-build-dependencies", identity, facts, missing | unfit)
    trouble = finding.but(status="info", impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,), fix=fix)
    if not unfit:
        summary = f"Not installed, and only needed to build packages from source: {', '.join(missing)}"
        return trouble.but(summary=summary)
    against = f"torch {this.release}" if this else f"Python {identity.python_minor}"
    summary = f"setuptools {versions['setuptools']} cannot build for {against}: it takes setuptools{bounds}"
    return as_needed(trouble.but(summary=summary), nvidia, torch, flash_attn)


CHECK = Check(
    id="build-dependencies",
    group="build-tools",
    looks_at="pip, setuptools, wheel, packaging and psutil in this Python, and the setuptools that this torch builds with.",
    why="flash-attn builds without isolation, with what is installed: a missing package ends in 'No module named', a setuptools from 82 on beside an older torch in 'No module named pkg_resources'.",
    by_hand="Run `pip install` for what is missing, with the bounds given here, and build with `pip install --no-build-isolation`: torch itself is needed, and an isolated build hides it.",
    probes=(BUILD_PACKAGES, IDENTITY, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
)
