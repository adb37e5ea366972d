"""Does this Python run in an intact virtual environment?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import could_not_look, path_of
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.python import VIRTUAL_ENVIRONMENT, PythonFacts, VirtualEnvironmentFacts

VENV = "https://docs.python.org/3/library/venv.html"


def judge(environment: VirtualEnvironmentFacts) -> Finding:
    python, identity = environment.python, environment.python.identity
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A virtual environment in {identity.prefix}",
        measured=f"environment in {identity.prefix}, Python in {identity.base_prefix}",
        expected="a virtual environment, in the folder where it was created, with its Python still installed",
        evidence=(
            Evidence(source="identity", name="prefix", value=identity.prefix),
            Evidence(source="identity", name="base prefix", value=identity.base_prefix),
        ),
    )
    if not python.in_virtual_environment:
        return _no_virtual_environment(python, ok)
    if isinstance(environment.settings, Unreadable):
        return could_not_look(CHECK.id, "pyvenv.cfg", environment.settings.reason)
    for what, reading in (("its Python's folder", environment.home), ("activate", environment.created_at)):
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, f"the virtual environment: {what}", reading.reason)
    fault = _fault(environment)
    if fault is None:
        return ok
    return ok.but(
        status="error",
        summary=fault,
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(VENV,),
        fix=Fix(
            id="recreate-environment",
            applicability="manual",
            reversible=False,
            commands=(_recreate(environment),),
        ),
    )


def _no_virtual_environment(python: PythonFacts, ok: Finding) -> Finding:
    if isinstance(python.base_names, Unreadable) and not python.is_from_store:
        return could_not_look(
            CHECK.id, f"this Python's folder {python.identity.base_prefix}", python.base_names.reason
        )
    if isinstance(python.base_names, Found) and "conda-meta" in python.base_names.value:
        return ok.but(summary=f"A conda environment in {python.identity.prefix}")
    summary = "No virtual environment: packages are installed for every program that uses this Python"
    return ok.but(status="info", summary=summary, links=(VENV,))


def _fault(environment: VirtualEnvironmentFacts) -> str | None:
    identity = environment.python.identity
    if not isinstance(environment.settings, Found):
        return f"This virtual environment has no pyvenv.cfg: {identity.prefix}"
    settings = environment.settings.value
    if isinstance(environment.home, Absent):
        home = settings.get("home", "not named in pyvenv.cfg")
        return f"The Python this virtual environment was created with no longer exists: {home}"
    created_with = settings.get("version_info") or settings.get("version", "")
    then, now = _minor(created_with), _minor(identity.python)
    if then and now and then != now:
        return (
            f"This virtual environment was created with Python {created_with} and runs on {identity.python}"
        )
    if isinstance(environment.created_at, Found) and isinstance(environment.names_there, Absent):
        return f"This virtual environment was moved from {environment.created_at.value}: pip, aios and activate still use that path"
    return None


def _minor(version: str) -> str | None:
    """ "3.12.4.final.0" -> "3.12"; None if it is not a version."""
    match = re.match(r"(\d+\.\d+)(?=\D|$)", version)
    return match.group(1) if match else None


def _recreate(environment: VirtualEnvironmentFacts) -> str:
    identity = environment.python.identity
    if identity.os == "windows":
        return f"py -{identity.python_minor} -m venv --clear {path_of(identity, identity.prefix)}"
    python = path_of(identity, f"{identity.base_prefix}/bin/python3")
    return f"{python} -m venv --clear {path_of(identity, identity.prefix)}"


CHECK = Check(
    id="virtual-environment",
    group="system",
    looks_at="pyvenv.cfg, the Python it names, and the path in the activation script.",
    why="The programs of an environment contain absolute paths. If it is moved, or its Python is removed, they fail with 'Fatal error in launcher' or 'No Python at'.",
    by_hand="Recreate the environment in its folder and reinstall the packages. An environment cannot be moved.",
    probes=(VIRTUAL_ENVIRONMENT,),
    judge=judge,
)
