"""Does this Python run in a virtual environment that is whole?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import could_not_look
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
        expected="an environment of its own, in the folder where it was made, with its Python still there",
        evidence=(
            Evidence(source="identity", name="prefix", value=identity.prefix),
            Evidence(source="identity", name="base prefix", value=identity.base_prefix),
        ),
    )
    if not python.in_virtual_environment:
        return _without(python, ok)
    if isinstance(environment.settings, Unreadable):
        return could_not_look(CHECK.id, "pyvenv.cfg", environment.settings.reason)
    for what, reading in (("its Python's folder", environment.home), ("activate", environment.created_at)):
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, f"the virtual environment: {what}", reading.reason)
    trouble = _trouble(environment)
    if trouble is None:
        return ok
    return ok.model_copy(
        update={
            "status": "error",
            "summary": trouble,
            "impact": CHECK.why,
            "hint": CHECK.by_hand,
            "links": (VENV,),
            "fix": Fix(
                id="make-environment-anew",
                applicability="manual",
                reversible=False,
                commands=(_again(environment),),
            ),
        }
    )


def _without(python: PythonFacts, ok: Finding) -> Finding:
    if isinstance(python.base_names, Unreadable) and not python.is_from_store:
        return could_not_look(
            CHECK.id, f"this Python's folder {python.identity.base_prefix}", python.base_names.reason
        )
    if isinstance(python.base_names, Found) and "conda-meta" in python.base_names.value:
        return ok.model_copy(update={"summary": f"A conda environment in {python.identity.prefix}"})
    return ok.model_copy(
        update={
            "status": "info",
            "summary": "No virtual environment: packages go where all programs of this Python find them",
            "links": (VENV,),
        }
    )


def _trouble(environment: VirtualEnvironmentFacts) -> str | None:
    identity = environment.python.identity
    if not isinstance(environment.settings, Found):
        return f"This virtual environment has lost its pyvenv.cfg: {identity.prefix}"
    settings = environment.settings.value
    if isinstance(environment.home, Absent):
        return f"The Python that this virtual environment was made with is gone: {settings.get('home', 'pyvenv.cfg names none')}"
    made_with = settings.get("version_info") or settings.get("version", "")
    then, now = _minor(made_with), _minor(identity.python)
    if then and now and then != now:
        return f"This virtual environment was made with Python {made_with} and runs on {identity.python}"
    if isinstance(environment.created_at, Found) and isinstance(environment.names_there, Absent):
        return f"This virtual environment was moved here from {environment.created_at.value}: pip, aios and activate look there"
    return None


def _minor(version: str) -> str | None:
    """ "3.12.4.final.0" -> "3.12"; None where it is no version."""
    match = re.match(r"(\d+\.\d+)(?=\D|$)", version)
    return match.group(1) if match else None


def _again(environment: VirtualEnvironmentFacts) -> str:
    identity = environment.python.identity
    if identity.os == "windows":
        return f'py -{identity.python_minor} -m venv --clear "{identity.prefix}"'
    return f'"{identity.base_prefix}/bin/python3" -m venv --clear "{identity.prefix}"'


CHECK = Check(
    id="virtual-environment",
    group="system",
    looks_at="pyvenv.cfg, the Python that it names, and the path that the activation script knows.",
    why="The programs of an environment hold absolute paths: moved, or without its Python, they end in 'Fatal error in launcher' or 'No Python at'.",
    by_hand="Make the environment anew in its place, and install into it again; an environment is never moved.",
    probes=(VIRTUAL_ENVIRONMENT,),
    judge=judge,
)
