"""Were the installed packages with compiled code built for this Python and this system?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, for_this_python, skipped, why_not
from doctor.checks.system import python_architecture, virtual_environment
from doctor.host import Distribution, Found, Identity, Reading
from doctor.models import Evidence, Finding, Fix
from doctor.probes.site_packages import INSTALLED, Installed
from doctor.probes.system import IDENTITY
from wheels.tags import accepts, is_native

LINK = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"
# What training imports. flash-attn is not among them: its own check reads the Python off its module's name.
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
ELSEWHERE = "flash-attn"


def judge(reading: Reading[Installed], identity: Identity) -> Finding:
    if identity.python_implementation != "CPython":
        return skipped(CHECK.id, f"this Python is {identity.python_implementation}")
    if not isinstance(reading, Found):
        return could_not_look(CHECK.id, "the installed packages", why_not(reading))
    python = _numbers(identity)
    if python is None:
        return could_not_look(CHECK.id, "this Python's version", f"it calls itself {identity.python!r}")
    native = {
        name: found
        for name, found in reading.value.distributions.items()
        if is_native(found.wheel_tags) and name != ELSEWHERE
    }
    foreign = {
        name: found
        for name, found in native.items()
        if accepts(python, identity.python_free_threaded, identity.python_platform, found.wheel_tags) is False
    }
    this = f"Python {identity.python_minor}{', free-threaded,' if identity.python_free_threaded else ''} on {identity.python_platform}"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{len(native)} packages with compiled code, all built for {this}",
        measured="; ".join(f"{name}: {_tags(found)}" for name, found in foreign.items()) or "all fit",
        expected=f"wheels that {this} accepts",
    )
    if not foreign:
        return finding
    name, found = next((pair for pair in foreign.items() if pair[0] in NEEDED), next(iter(foreign.items())))
    more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
    again = " ".join(f"{name}=={found.version.partition('+')[0]}" for name, found in foreign.items())
    return finding.model_copy(
        update={
            "status": "error" if set(foreign) & set(NEEDED) else "warning",
            "summary": f"{name} was built for another Python ({_tags(found)}); this is {this}{more}",
            "impact": CHECK.why,
            "hint": CHECK.by_hand,
            "links": (LINK,),
            "evidence": tuple(
                Evidence(source="metadata", name=f"{name} WHEEL: Tag", value=list(found.wheel_tags))
                for name, found in foreign.items()
            ),
            "fix": Fix(
                id="reinstall-foreign-packages",
                applicability="manual",
                commands=(for_this_python(identity, "pip", f"install --force-reinstall --no-deps {again}"),),
            ),
        }
    )


def _numbers(identity: Identity) -> tuple[int, int] | None:
    major, _, minor = identity.python_minor.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _tags(found: Distribution) -> str:
    return ", ".join(found.wheel_tags)


CHECK = Check(
    id="wheel-tags",
    group="packages",
    looks_at="The tags that each installed wheel states in its metadata, against this Python's version, build and system. Nothing is imported.",
    why="Compiled code of another Python, or of another system, cannot be loaded: a wheel that was renamed to get past pip, or an environment that moved to a newer Python.",
    by_hand="Install these packages again with this environment's own pip, and never rename a wheel; after a change of Python make the environment anew.",
    probes=(INSTALLED, IDENTITY),
    judge=judge,
    systems=frozenset({"windows", "linux"}),
    because_of=(python_architecture.CHECK, virtual_environment.CHECK),
)
