"""Do pip and uv use package indexes that have the right torch?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.version import Version

from doctor.check import Check, Requirement
from doctor.checks.shared import PYTORCH, could_not_look, for_this_python, torch_is
from doctor.checks.system.variable_fixes import remove_variable
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.package_index import COMMANDS, INDEX, IndexFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.variables import Variable
from doctor.quoting import in_text
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
TRUE = {"y", "yes", "t", "true", "on", "1"}  # as pip parses a boolean


@dataclass(frozen=True)
class Index:
    """A configured index. `where` is a file's path or a variable; `unset` are pip's arguments that remove it."""

    url: str
    where: str
    unset: str = ""
    variable: Variable | None = None


def judge(index: IndexFacts, nvidia: NvidiaFacts, torch: TorchFacts, identity: Identity) -> Finding:
    chosen = tuple(_indexes(index))
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="pip and uv use their default index",
        measured=", ".join(f"{shown(i.url)} by {i.where}" for i in chosen) or "no other index is set",
        expected="indexes that have a torch for this machine",
        evidence=tuple(
            Evidence(source="environment" if i.variable else "file", name=i.where, value=shown(i.url))
            for i in chosen
        ),
    )
    problem = ok.but(impact=CHECK.why, hint=CHECK.by_hand, links=(PIP_CONFIGURATION,))
    for file in index.files:
        if file.fault:
            summary = f"pip cannot start: {file.path} is not a valid configuration file"
            return problem.but(status="error", summary=summary, measured=file.fault)
    if _is_on(index, "PIP_REQUIRE_VIRTUALENV", "require-virtualenv") and not identity.in_virtual_environment:
        return problem.but(
            status="warning",
            summary="pip is configured to install into virtual environments only, and this is not one",
            hint="Create a virtual environment and run aios in it: python -m venv .venv",
        )
    for one in chosen:
        if reason := _why_wrong(one.url, nvidia, torch, identity):
            hint, fix = _remove(one, identity)
            links = (PYTORCH, PIP_CONFIGURATION)
            summary = f"{reason} ({one.where})"
            return problem.but(status="warning", summary=summary, hint=hint, fix=fix, links=links)
    if _is_on(index, "PIP_NO_INDEX", "no-index"):
        summary = "pip is configured to use local folders only (no-index)"
        return ok.but(status="info", summary=summary)
    if chosen:
        return ok.but(summary=f"Packages come from {ok.measured}")
    return ok


def shown(url: str) -> str:
    """Return a URL without the credentials in it."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return "an invalid URL"


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
    for variable in index.variables:  # uv's may start with a name: torch=https://...
        for word in (variable.value or "").split():
            yield Index(re.sub(r"^[\w-]+=(?=https?:)", "", word), variable.name, variable=variable)


def _is_on(index: IndexFacts, variable: str, setting: str) -> bool:
    value = index.switches[variable] or index.setting(setting) or ""
    return value.lower() in TRUE


def _why_wrong(url: str, nvidia: NvidiaFacts, torch: TorchFacts, identity: Identity) -> str | None:
    """Return why this PyTorch index is wrong for this machine; None if it fits, or for an index of others."""
    match = TAG.search(url)
    if match is None:
        return None
    tag = match.group(1)
    if tag == "cpu":
        return "torch comes from the CPU index, so the NVIDIA GPU is not used" if nvidia.gpus else None
    return (
        _driver_too_old(tag, nvidia, identity)
        or _no_code_for_gpu(tag, nvidia, identity)
        or _no_build_for_python(tag, torch, identity)
    )


def _driver_too_old(tag: str, nvidia: NvidiaFacts, identity: Identity) -> str | None:
    if not isinstance(nvidia.driver, Found):
        return None
    driver, major = nvidia.driver.value.driver_version, cuda_of_tag(tag)[0]
    if driver_supports(driver, major, identity.os) is not False:
        return None
    needed = minimum_driver(major, identity.os)
    return f"The {tag} index needs NVIDIA driver {needed} or newer; installed: {driver}"


def _no_code_for_gpu(tag: str, nvidia: NvidiaFacts, identity: Identity) -> str | None:
    newest = _newest_of(tag)
    architectures = torch_architectures(newest, tag, identity.os) if newest else None
    for gpu in nvidia.gpus if architectures else ():
        if not contains_code_for(architectures or (), gpu.compute_capability):
            return f"The {tag} builds have no code for {gpu.name}"
    return None


def _no_build_for_python(tag: str, torch: TorchFacts, identity: Identity) -> str | None:
    if identity.os != "windows" or _newest_of(tag) is None:
        return None
    here = newest_torch(tag, identity.python_minor)
    if here is None:
        return f"The {tag} index has no torch for Python {identity.python_minor}"
    this = torch_is(torch)
    if this and Version(here).release[:2] < this.version.release[:2]:
        return f"The {tag} index ends with torch {here}, but torch {this.release} is installed"
    return None


def _newest_of(tag: str) -> Version | None:
    """The newest torch with this CUDA tag, for any Python."""
    releases = (newest_torch(tag, python) for python in pythons_with_torch())
    return max((Version(release) for release in releases if release), default=None)


def _remove(one: Index, identity: Identity) -> tuple[str, Fix | None]:
    """Return the hint and the fix that remove a configured index."""
    if one.variable is not None:
        return remove_variable(one.variable)
    if not one.unset:
        hint = f"Remove the index from {one.where}, and name it only when installing torch: --torch-backend"
        return hint, None
    command = for_this_python(identity, "pip", one.unset)
    fix = Fix(id="unset-index", applicability="manual", commands=(command,))
    return (
        f"Remove it from pip's configuration, and name it only when installing torch: {in_text(command)}",
        fix,
    )


def _unreadable_file(check: str, index: IndexFacts) -> Finding | None:
    for path, reading in (*((f.path, f.settings) for f in index.files), *index.uv_files.items()):
        if isinstance(reading, Unreadable):
            return could_not_look(check, path, reading.reason)
    return None


CHECK = Check(
    id="package-index",
    group="system",
    looks_at="The configuration files of pip (every level) and uv, and the variables that set their indexes.",
    why="With an index that lacks the right torch, pip fails with 'Could not find a version that satisfies the requirement torch', or silently installs an older or a CPU build.",
    by_hand="List the settings with `python -m pip config debug`, remove those that do not fit, and name PyTorch's index only when installing torch.",
    probes=(INDEX, NVIDIA, TORCH, IDENTITY),
    judge=judge,
    requires=(Requirement((INDEX,), _unreadable_file),),
)
