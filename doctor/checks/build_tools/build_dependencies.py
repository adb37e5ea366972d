"""Are the Python packages installed that building flash-attn needs, in versions that work with this torch?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from doctor.check import Check, Requirement
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.shared import could_not_look, torch_is
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.build_environment import BUILD_PACKAGES, BuildPackagesFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.source_build import setuptools_requirement

# flash-attn's setup.py imports all but pip
NEEDED = ("pip", "setuptools", "wheel", "packaging", "psutil")
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
    required = dict.fromkeys(NEEDED, "") | {"setuptools": bounds}
    versions = {name: _version(facts, name) for name in required}
    missing = {name: specifier for name, specifier in required.items() if versions[name] is None}
    unfit = {name: spec for name, spec in required.items() if not _fits(versions[name], spec)}
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"pip, wheel, packaging, psutil and setuptools {versions['setuptools']}",
        measured=", ".join(f"{name} {version or 'missing'}" for name, version in versions.items()),
        expected=", ".join(f"{name}{specifier}" for name, specifier in required.items()),
        evidence=tuple(
            Evidence(source="metadata", name=f"{name} version", value=version)
            for name, version in versions.items()
        ),
    )
    if not missing and not unfit:
        return finding
    fix = build_tool_fixes.install_packages("install-build-dependencies", identity, facts, missing | unfit)
    problem = finding.but(status="info", impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,), fix=fix)
    if not unfit:
        return problem.but(
            summary=f"Not installed, and only needed to build packages from source: {', '.join(missing)}"
        )
    target = f"torch {this.release}" if this else f"Python {identity.python_minor}"
    summary = f"setuptools {versions['setuptools']} cannot build for {target}, which needs setuptools{bounds}"
    return with_build_severity(problem.but(summary=summary), nvidia, torch, flash_attn)


def _version(facts: BuildPackagesFacts, name: str) -> str | None:
    package = facts.packages[name]
    return package.value.version if isinstance(package, Found) else None


def _fits(version: str | None, specifier: str) -> bool:
    return version is None or SpecifierSet(specifier).contains(version, prereleases=True)


def _unreadable_package(check: str, facts: BuildPackagesFacts) -> Finding | None:
    for name in NEEDED:
        if isinstance(package := facts.packages[name], Unreadable):
            return could_not_look(check, f"the package {name}", package.reason)
    return None


CHECK = Check(
    id="build-dependencies",
    group="build-tools",
    looks_at="pip, setuptools, wheel, packaging and psutil in this Python, and the setuptools versions this torch can build with.",
    why="flash-attn builds without isolation, using the installed packages. A missing one fails with 'No module named', and setuptools 82 or newer with an older torch fails with 'No module named pkg_resources'.",
    by_hand="Install what is missing with `pip install`, within the bounds given here, and build with `pip install --no-build-isolation`: the build needs torch, which an isolated build cannot see.",
    probes=(BUILD_PACKAGES, IDENTITY, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(Requirement((BUILD_PACKAGES,), _unreadable_package),),
)
