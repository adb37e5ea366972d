"""Do packages of another Python come into this one?"""

from __future__ import annotations

from collections.abc import Mapping

from doctor.check import Check
from doctor.checks.shared import could_not_look, several
from doctor.checks.system.variable_fixes import without
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.python import MIXED_ENVIRONMENTS, MixedEnvironmentsFacts

VARIABLES = "https://docs.python.org/3/using/cmdline.html"
PACKAGE_FOLDERS = ("site-packages", "dist-packages")
NAMED = 5  # packages named in one line


def judge(mixture: MixedEnvironmentsFacts) -> Finding:
    variables = {v.name: v.value for v in (mixture.home, mixture.path)} | mixture.environments
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="All packages are this environment's own",
        measured=", ".join(f"{name} is {value or 'not set'}" for name, value in variables.items()),
        expected="neither PYTHONHOME nor PYTHONPATH, and every package in this environment",
        evidence=tuple(
            Evidence(source="environment", name=name, value=value) for name, value in variables.items()
        ),
    )

    def warning(summary: str, hint: str, fix: Fix | None = None) -> Finding:
        found = {"status": "warning", "summary": summary, "impact": CHECK.why, "hint": hint, "fix": fix}
        return ok.model_copy(update={**found, "links": (VARIABLES,)})

    if mixture.home.value:
        summary = f"PYTHONHOME makes every Python look for its library in {mixture.home.value}"
        return warning(summary, *without(mixture.home))
    if isinstance(mixture.locations, Unreadable):
        return could_not_look(CHECK.id, "the installed packages", mixture.locations.reason)
    locations = mixture.locations.value if isinstance(mixture.locations, Found) else {}
    path, identity = mixture.path.value or "", mixture.identity
    folders = [folder for folder in path.split(";" if identity.os == "windows" else ":") if folder]
    if brought := [name for folder in folders for name in _brought(folder, locations, identity)]:
        return warning(
            f"PYTHONPATH brings in {several(brought, NAMED, 'packages')} from {path}", *without(mixture.path)
        )
    users = [name for name, place in locations.items() if _is_the_users(place, mixture)]
    if users and _in_environment(mixture):
        return warning(
            f"Packages of your user come into this environment, from {mixture.user_packages}: {several(users, NAMED, 'packages')}",
            "Keep them out with the variable PYTHONNOUSERSITE=1, and install here what is then missing.",
        )
    note = None
    if path:
        note = f"PYTHONPATH is set, and brings in no installed package: {path}"
    elif all(mixture.environments.values()):
        note = "A conda environment is active beneath this one: conda deactivate takes its programs off PATH"
    return ok.model_copy(update={"status": "info", "summary": note}) if note else ok


def _is_below(place: str, folder: str, identity: Identity) -> bool:
    return identity.path(place).is_relative_to(identity.path(folder))


def _brought(folder: str, locations: Mapping[str, str], identity: Identity) -> list[str]:
    """The packages that a folder on PYTHONPATH brings in. A single one is a project in its own folder."""
    path = identity.path(folder)
    inside = [name for name, place in locations.items() if identity.path(place) == path]
    many = len(inside) > 1 or path.name in PACKAGE_FOLDERS
    return inside if many and not _is_below(folder, identity.prefix, identity) else []


def _is_the_users(place: str, mixture: MixedEnvironmentsFacts) -> bool:
    """An environment may itself lie where the user's packages do."""
    identity = mixture.identity
    own = any(_is_below(place, folder, identity) for folder in (identity.prefix, identity.base_prefix))
    return not own and _is_below(place, mixture.user_packages, identity)


def _in_environment(mixture: MixedEnvironmentsFacts) -> bool:
    """Outside of one, the user's packages are where they belong."""
    identity = mixture.identity
    return identity.in_virtual_environment or identity.prefix == mixture.environments["CONDA_PREFIX"]


CHECK = Check(
    id="mixed-environments",
    group="system",
    looks_at="PYTHONPATH, PYTHONHOME, VIRTUAL_ENV, CONDA_PREFIX, and the folder that each installed package comes from.",
    why="A package of another Python is loaded instead of this environment's: 'DLL load failed', 'Numpy is not available', or the wrong torch.",
    by_hand="Remove the variables PYTHONPATH and PYTHONHOME, set PYTHONNOUSERSITE=1, and open a new terminal.",
    probes=(MIXED_ENVIRONMENTS,),
    judge=judge,
)
