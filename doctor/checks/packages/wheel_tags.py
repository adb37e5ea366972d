"""Were the installed packages with compiled code built for this Python and this system?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.requires import present
from doctor.checks.shared import could_not_look, for_this_python, skipped, value_of
from doctor.checks.system import python_architecture, virtual_environment
from doctor.host import Distribution, Identity, Reading
from doctor.models import Evidence, Finding, Fix
from doctor.probes.site_packages import INSTALLED, Installed
from doctor.probes.system import IDENTITY
from wheels.tags import accepts, is_native

LINK = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"
# The packages that training imports. flash-attn is not listed: its own check reads the Python from its module's file name.
NEEDED = (
    "torch",
    "xformers",
    "triton",
    "triton-windows",
    "numpy",
    "safetensors",
    "tokenizers",
    "pydantic-core",
)
JUDGED_BY_OWN_CHECK = "flash-attn"


def judge(reading: Reading[Installed], identity: Identity) -> Finding:
    python = _python_version(identity)
    if python is None:
        return could_not_look(
            CHECK.id, "the Python version", f"{identity.python!r} is not a version that aios knows"
        )
    native = {
        name: package
        for name, package in value_of(reading).distributions.items()
        if is_native(package.wheel_tags) and name != JUDGED_BY_OWN_CHECK
    }
    unfit = {
        name: package
        for name, package in native.items()
        if accepts(python, identity.python_free_threaded, identity.python_platform, package.wheel_tags)
        is False
    }
    this = _this_python(identity)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{len(native)} packages with compiled code, all built for {this}",
        measured="; ".join(f"{name}: {_tags(package)}" for name, package in unfit.items()) or "all fit",
        expected=f"wheels that {this} accepts",
    )
    return _unfit(finding, unfit, identity) if unfit else finding


def _unfit(finding: Finding, unfit: dict[str, Distribution], identity: Identity) -> Finding:
    name = next((name for name in unfit if name in NEEDED), next(iter(unfit)))
    more = f" (and {len(unfit) - 1} more)" if len(unfit) > 1 else ""
    versions = " ".join(f"{name}=={package.version.partition('+')[0]}" for name, package in unfit.items())
    command = for_this_python(identity, "pip", f"install --force-reinstall --no-deps {versions}")
    return finding.but(
        status="error" if name in NEEDED else "warning",
        summary=f"{name} was built for another Python ({_tags(unfit[name])}); this is {_this_python(identity)}{more}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
        evidence=tuple(
            Evidence(source="metadata", name=f"{name} WHEEL: Tag", value=list(package.wheel_tags))
            for name, package in unfit.items()
        ),
        fix=Fix(id="reinstall-foreign-packages", applicability="manual", commands=(command,)),
    )


def _this_python(identity: Identity) -> str:
    free_threaded = ", free-threaded," if identity.python_free_threaded else ""
    return f"Python {identity.python_minor}{free_threaded} on {identity.python_platform}"


def _python_version(identity: Identity) -> tuple[int, int] | None:
    major, _, minor = identity.python_minor.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _tags(package: Distribution) -> str:
    return ", ".join(package.wheel_tags)


def _not_cpython(check: str, identity: Identity) -> Finding | None:
    name = identity.python_implementation
    return None if name == "CPython" else skipped(check, f"this Python is {name}")


CHECK = Check(
    id="wheel-tags",
    group="packages",
    looks_at="The tags in the metadata of each installed wheel, against this Python's version, build and system. Nothing is imported.",
    why="Code compiled for another Python or another system cannot be loaded. Such packages come from a wheel that was renamed to get past pip, or from an environment whose Python was replaced.",
    by_hand="Reinstall these packages with the environment's own pip, and never rename a wheel. After replacing the Python, recreate the environment.",
    probes=(INSTALLED, IDENTITY),
    judge=judge,
    systems=frozenset({"windows", "linux"}),
    because_of=(python_architecture.CHECK, virtual_environment.CHECK),
    requires=(Requirement((IDENTITY,), _not_cpython), present(INSTALLED, "the installed packages")),
)
