"""Are packages of another Python mixed into this one?"""

from __future__ import annotations

from collections.abc import Mapping

from doctor.check import Check
from doctor.checks.shared import could_not_look, several
from doctor.checks.system.variable_fixes import remove_variable
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.python import MIXED_ENVIRONMENTS, MixedEnvironmentsFacts

VARIABLES = "https://docs.python.org/3/using/cmdline.html"
PACKAGE_FOLDERS = ("site-packages", "dist-packages")
NAMED = 5  # packages named in one line


def judge(facts: MixedEnvironmentsFacts) -> Finding:
    variables = {v.name: v.value for v in (facts.home, facts.path)} | facts.environments
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="All packages come from this environment",
        measured=", ".join(f"{name} is {value or 'not set'}" for name, value in variables.items()),
        expected="neither PYTHONHOME nor PYTHONPATH, and every package in this environment",
        evidence=tuple(
            Evidence(source="environment", name=name, value=value) for name, value in variables.items()
        ),
    )
    if facts.home.value:
        summary = f"PYTHONHOME makes every Python look for its library in {facts.home.value}"
        return _problem(ok, summary, *remove_variable(facts.home))
    if isinstance(facts.locations, Unreadable):
        return could_not_look(CHECK.id, "the installed packages", facts.locations.reason)
    locations = facts.locations.value if isinstance(facts.locations, Found) else {}
    return _from_pythonpath(ok, facts, locations) or _from_user(ok, facts, locations) or _note(ok, facts)


def _problem(ok: Finding, summary: str, hint: str, fix: Fix | None = None) -> Finding:
    return ok.but(status="warning", summary=summary, impact=CHECK.why, hint=hint, fix=fix, links=(VARIABLES,))


def _from_pythonpath(
    ok: Finding, facts: MixedEnvironmentsFacts, locations: Mapping[str, str]
) -> Finding | None:
    path, identity = facts.path.value or "", facts.identity
    folders = [folder for folder in path.split(";" if identity.os == "windows" else ":") if folder]
    added = [name for folder in folders for name in _added_by(folder, locations, identity)]
    if not added:
        return None
    summary = f"PYTHONPATH adds {several(added, NAMED, 'packages')} from {path}"
    return _problem(ok, summary, *remove_variable(facts.path))


def _from_user(ok: Finding, facts: MixedEnvironmentsFacts, locations: Mapping[str, str]) -> Finding | None:
    names = [name for name, location in locations.items() if _is_of_user(location, facts)]
    if not names or not _in_environment(facts):
        return None
    return _problem(
        ok,
        f"Packages from your user folder {facts.user_packages} are visible in this environment: {several(names, NAMED, 'packages')}",
        "Set the variable PYTHONNOUSERSITE=1 to exclude them, and install missing packages in this environment.",
    )


def _note(ok: Finding, facts: MixedEnvironmentsFacts) -> Finding:
    if facts.path.value:
        summary = f"PYTHONPATH is set, but adds no installed package: {facts.path.value}"
        return ok.but(status="info", summary=summary)
    if all(facts.environments.values()):
        summary = (
            "A conda environment is active outside this one: conda deactivate removes its programs from PATH"
        )
        return ok.but(status="info", summary=summary)
    return ok


def _is_below(path: str, folder: str, identity: Identity) -> bool:
    return identity.path(path).is_relative_to(identity.path(folder))


def _added_by(folder: str, locations: Mapping[str, str], identity: Identity) -> list[str]:
    """The packages that a folder on PYTHONPATH adds. A single package is taken for a project in its own folder."""
    path = identity.path(folder)
    inside = [name for name, location in locations.items() if identity.path(location) == path]
    many = len(inside) > 1 or path.name in PACKAGE_FOLDERS
    return inside if many and not _is_below(folder, identity.prefix, identity) else []


def _is_of_user(location: str, facts: MixedEnvironmentsFacts) -> bool:
    """Whether a package is in the user's folder, unless the environment itself is in there."""
    identity = facts.identity
    own = any(_is_below(location, folder, identity) for folder in (identity.prefix, identity.base_prefix))
    return not own and _is_below(location, facts.user_packages, identity)


def _in_environment(facts: MixedEnvironmentsFacts) -> bool:
    """Whether this is an environment. Outside of one, the user's packages are expected."""
    identity = facts.identity
    return identity.in_virtual_environment or identity.prefix == facts.environments["CONDA_PREFIX"]


CHECK = Check(
    id="mixed-environments",
    group="system",
    looks_at="PYTHONPATH, PYTHONHOME, VIRTUAL_ENV, CONDA_PREFIX, and the folder of each installed package.",
    why="A package of another Python is imported instead of this environment's: 'DLL load failed', 'Numpy is not available', or the wrong torch.",
    by_hand="Remove the variables PYTHONPATH and PYTHONHOME, set PYTHONNOUSERSITE=1, and open a new terminal.",
    probes=(MIXED_ENVIRONMENTS,),
    judge=judge,
)
