"""Do pip and uv look for packages where the right ones are?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.version import Version

from doctor.check import Check
from doctor.checks.shared import PYTORCH, could_not_look, for_this_python, torch_is
from doctor.checks.system.variable_fixes import without
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.package_index import COMMANDS, INDEX, IndexFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.variables import Variable
from wheels.compatibility import (
    contains_code_for,
    cuda_of_tag,
    driver_supports,
    minimum_driver,
    newest_torch,
    pythons_with_torch,
    torch_architectures,
)

PIP_CONFIGURATION = "https://pip.pypa.io/en/stable/topics/configuration/"
TAG = re.compile(r"/whl/(?:nightly/|test/)?(cu\d{3}|cpu)(?![\w.])")
TRUE = {"y", "yes", "t", "true", "on", "1"}  # as pip reads a switch


@dataclass(frozen=True)
class Index:
    """An index that somebody set, and where: a file's path or a variable. `unset` are pip's words to take it out."""

    url: str
    where: str
    unset: str = ""
    variable: Variable | None = None


def judge(index: IndexFacts, nvidia: NvidiaFacts, torch: TorchFacts, identity: Identity) -> Finding:
    for path, reading in (*((f.path, f.settings) for f in index.files), *index.uv_files.items()):
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, path, reading.reason)
    chosen = tuple(_indexes(index))
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="pip and uv take packages from their usual index",
        measured=", ".join(f"{shown(i.url)} by {i.where}" for i in chosen) or "no other index is set",
        expected="indexes that have a torch for this machine",
        evidence=tuple(
            Evidence(source="environment" if i.variable else "file", name=i.where, value=shown(i.url))
            for i in chosen
        ),
    )
    advice = {"impact": CHECK.why, "hint": CHECK.by_hand, "links": (PIP_CONFIGURATION,)}
    for file in index.files:
        if file.fault:
            summary = f"pip refuses to start: {file.path} is no configuration file"
            return ok.model_copy(
                update={**advice, "status": "error", "summary": summary, "measured": file.fault}
            )
    if _is_on(index, "PIP_REQUIRE_VIRTUALENV", "require-virtualenv") and (
        not identity.in_virtual_environment
    ):
        summary = "pip is set to install into virtual environments alone, and this is none"
        hint = "Make a virtual environment, and run aios there: python -m venv .venv"
        return ok.model_copy(update={**advice, "status": "warning", "summary": summary, "hint": hint})
    for one in chosen:
        if trouble := _trouble(one.url, nvidia, torch, identity):
            hint, fix = _without(one, identity)
            update = {"status": "warning", "summary": f"{trouble} ({one.where})", "hint": hint, "fix": fix}
            return ok.model_copy(update={**advice, **update, "links": (PYTORCH, PIP_CONFIGURATION)})
    if _is_on(index, "PIP_NO_INDEX", "no-index"):
        summary = "pip is set to take packages from folders of this machine alone (no-index)"
        return ok.model_copy(update={"status": "info", "summary": summary})
    if chosen:
        return ok.model_copy(update={"summary": f"Packages come from {ok.measured}"})
    return ok


def shown(url: str) -> str:
    """An address without the name and the password that may be in it."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return "an address that cannot be read"


def _indexes(index: IndexFacts) -> Iterator[Index]:
    for file in index.files:
        known = file.settings.value if isinstance(file.settings, Found) else {}
        for command in COMMANDS:
            for name in ("index-url", "extra-index-url"):
                setting = f"{command}.{name}"
                unset = f"config --{file.level} unset {setting}" if file.level else ""
                yield from (Index(url, file.path, unset) for url in known.get(setting, "").split())
    for path, urls in index.uv_files.items():
        yield from (Index(url, path) for url in (urls.value if isinstance(urls, Found) else ()))
    for variable in index.variables:  # uv's may name an index: torch=https://...
        for word in (variable.value or "").split():
            yield Index(re.sub(r"^[\w-]+=(?=https?:)", "", word), variable.name, variable=variable)


def _is_on(index: IndexFacts, variable: str, setting: str) -> bool:
    value = index.switches[variable] or index.setting(setting) or ""
    return value.lower() in TRUE


def _trouble(url: str, nvidia: NvidiaFacts, torch: TorchFacts, identity: Identity) -> str | None:
    """Why an index of PyTorch's is the wrong one here; None for any other."""
    match = TAG.search(url)
    if match is None:
        return None
    tag = match.group(1)
    if tag == "cpu":
        return (
            "torch comes from the index of CPU builds: the NVIDIA GPU stays unused" if nvidia.gpus else None
        )
    if isinstance(nvidia.driver, Found):
        driver, major = nvidia.driver.value.driver_version, cuda_of_tag(tag)[0]
        if driver_supports(driver, major, identity.os) is False:
            needed = minimum_driver(major, identity.os)
            return f"The index for {tag} needs an NVIDIA driver from {needed} on, and this one is {driver}"
    newest = max(
        filter(None, (newest_torch(tag, p) for p in pythons_with_torch())), key=Version, default=None
    )
    for gpu in nvidia.gpus if newest else ():
        architectures = torch_architectures(Version(newest or ""), tag, identity.os)
        if architectures and not contains_code_for(architectures, gpu.compute_capability):
            return f"The builds for {tag} have no code for {gpu.name}"
    if identity.os != "windows" or newest is None:
        return None
    here = newest_torch(tag, identity.python_minor)
    if here is None:
        return f"The index for {tag} has no torch for Python {identity.python_minor}"
    this = torch_is(torch)
    if this and Version(here).release[:2] < this.version.release[:2]:
        return f"The index for {tag} ends with torch {here}, and torch {this.release} is installed"
    return None


def _without(one: Index, identity: Identity) -> tuple[str, Fix | None]:
    if one.variable is not None:
        return without(one.variable)
    if not one.unset:
        return (
            f"Take the index out of {one.where}, and name it where you install torch: --torch-backend",
            None,
        )
    command = for_this_python(identity, "pip", one.unset)
    fix = Fix(id="unset-index", applicability="manual", commands=(command,))
    return f"Take it out of pip's configuration, and name it where you install torch: {command}", fix


CHECK = Check(
    id="package-index",
    group="system",
    looks_at="pip's configuration files at every level, uv's, and the variables with which both are told of indexes.",
    why="An index that lacks the right torch ends in 'Could not find a version that satisfies the requirement torch', or in an older or a CPU build, silently.",
    by_hand="See what is set with `python -m pip config debug`, take out what does not fit, and name PyTorch's index only where torch is installed.",
    probes=(INDEX, NVIDIA, TORCH, IDENTITY),
    judge=judge,
)
