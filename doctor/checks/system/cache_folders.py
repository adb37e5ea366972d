"""Can the caches of models and compiled kernels stay in their folders?"""

from __future__ import annotations

import ntpath
from collections.abc import Iterator
from dataclasses import dataclass

from doctor.actions import MakeDirectory, SetUserEnvironmentVariable
from doctor.check import Check, Requirement
from doctor.checks.shared import could_not_look, registry_evidence
from doctor.checks.system import long_paths as long_paths_check
from doctor.checks.system.folder_rules import (
    LONGEST_PATH,
    are_long_paths_on,
    cannot_tell_whether_too_long,
    why_unreadable,
    why_unsuitable,
    with_kept_type,
)
from doctor.checks.system.variable_fixes import ENVIRONMENT_VARIABLES, SIGN_OUT, set_for_user
from doctor.host import Absent, Found, Unreadable
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Evidence, Finding, Fix
from doctor.probes.folders import CACHES, Cache, CacheFacts


@dataclass(frozen=True)
class Kind:
    """What a cache contains, and its requirements.

    Attributes:
        folder: the folder it is moved to.
        longest_below: the longest path its tool creates in it.
        compiled_in: whether compilers work in it. Others may have accented letters, or a slow or FAT-formatted drive.
    """

    contents: str
    folder: str
    longest_below: int
    compiled_in: bool


KINDS = {
    # hub\models--organization--name\snapshots\<40 digits>\<file>
    "HF_HOME": Kind("models", "huggingface", 150, compiled_in=False),
    "HF_HUB_CACHE": Kind("models", "huggingface\\hub", 146, compiled_in=False),
    # triton\0\<hash>\<name of a fused kernel>; <hash>\tmp.pid_1_<uuid>\<name of a fused kernel>
    "TORCHINDUCTOR_CACHE_DIR": Kind("torch.compile's kernels", "torchinductor", 175, compiled_in=True),
    "TRITON_CACHE_DIR": Kind("Triton's kernels", "triton", 205, compiled_in=True),
}
ROOT = "aios-cache"
MISREAD = "contains letters that compilers misread"
LINKS = (
    "https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables",
    "https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_configuration_tutorial.html",
)


def judge(facts: CacheFacts) -> Finding:
    long_paths = are_long_paths_on(facts.long_paths)
    finding = _judge(facts, facts.process, long_paths)
    if finding.status != "warning" or any(_faults(facts.desktop, long_paths)):
        return finding
    summary = f"Correct for new programs, but this terminal still has the old value: {finding.summary}"
    return finding.but(summary=summary, hint="Open a new terminal.", fix=None)


def _judge(facts: CacheFacts, caches: tuple[Cache, ...], long_paths: bool | None) -> Finding:
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="The caches of models and kernels can stay where they are",
        measured=", ".join(
            f"{c.variable} is {'not set: ' if c.is_default else ''}{c.folder.path}" for c in caches
        ),
        expected=f"short folders of plain letters on a local drive, such as {facts.drive}\\{ROOT}",
        evidence=(
            *(Evidence(source="environment", name=c.variable, value=_value(c)) for c in caches),
            *(registry_evidence(USER_ENVIRONMENT, name, value) for name, value in facts.user.items()),
        ),
    )
    if faults := tuple(_faults(caches, long_paths)):
        only_too_long = not any(_faults(caches, long_paths=True))
        faulty = tuple(cache for cache, _ in faults)
        return ok.but(
            status="warning",
            summary=_summary(faults),
            impact=CHECK.why,
            hint=_hint(faulty),
            links=LINKS,
            fix=_move(facts, faulty),
            because_of=long_paths_check.CHECK.id if only_too_long else None,
        )
    for cache in caches:
        if reason := why_unreadable(cache.folder):
            return could_not_look(CHECK.id, f"the volume of {cache.folder.path}", reason)
        if long_paths is None and _is_long(cache) and not _is_below_temp(cache):
            return cannot_tell_whether_too_long(CHECK.id, cache.folder.path)
    return ok


def _fault(cache: Cache, long_paths: bool | None) -> str | None:
    """What is wrong with a cache's folder, as a clause."""
    kind, folder = KINDS[cache.variable], cache.folder
    if _is_below_temp(cache):  # temp-dir judges TEMP: only the last name belongs to the cache
        return None if ntpath.basename(folder.path).isascii() else MISREAD
    matters = kind.compiled_in or isinstance(folder.onedrive, Found) or isinstance(folder.volume, Absent)
    if matters and (reason := why_unsuitable(folder)):
        return reason
    if kind.compiled_in and not folder.path.isascii():
        return MISREAD
    if long_paths is False and _is_long(cache):
        return f"is {len(folder.path)} characters long, and long paths are off"
    return None


def _is_below_temp(cache: Cache) -> bool:
    return cache.variable == "TORCHINDUCTOR_CACHE_DIR" and cache.is_default


def _is_long(cache: Cache) -> bool:
    return len(cache.folder.path) + 1 + KINDS[cache.variable].longest_below > LONGEST_PATH


def _faults(caches: tuple[Cache, ...], long_paths: bool | None) -> Iterator[tuple[Cache, str]]:
    return ((cache, fault) for cache in caches if (fault := _fault(cache, long_paths)))


def _move(facts: CacheFacts, caches: tuple[Cache, ...]) -> Fix:
    """Create a short folder for each cache and set its variable to it."""
    folders = {c.variable: f"{facts.drive}\\{ROOT}\\{KINDS[c.variable].folder}" for c in caches}
    states = {name: with_kept_type(facts.user[name], folder) for name, folder in folders.items()}
    return Fix(
        id="short-cache-folders",
        applicability="safe",
        restart="shell",
        commands=(
            *(f"mkdir {folder}" for folder in folders.values()),
            *(set_for_user(name, state) for name, state in states.items()),
            SIGN_OUT,
        ),
        actions=tuple(
            action
            for name, folder in folders.items()
            for action in (
                MakeDirectory(path=folder),
                SetUserEnvironmentVariable(name=name, state=states[name]),
            )
        ),
    )


def _summary(faults: tuple[tuple[Cache, str], ...]) -> str:
    """ "The cache of models is in OneDrive; the cache of A and of B contains letters that compilers misread"."""
    by_fault: dict[str, list[str]] = {}
    for cache, fault in faults:
        by_fault.setdefault(fault, []).append(f"of {KINDS[cache.variable].contents}")
    text = "; ".join(f"the cache {' and '.join(contents)} {fault}" for fault, contents in by_fault.items())
    return text[0].upper() + text[1:]


def _value(cache: Cache) -> str | None:
    return None if cache.is_default else cache.folder.path


def _hint(caches: tuple[Cache, ...]) -> str:
    hint = "Let the doctor move these caches to short folders of their own."
    if any(KINDS[cache.variable].contents == "models" for cache in caches):
        return (
            f"{hint} Models and the access token stay in the old folder: move them, or download them again."
        )
    return hint


def _unreadable_variable(check: str, facts: CacheFacts) -> Finding | None:
    for name, value in facts.user.items():
        if isinstance(value, Unreadable):
            return could_not_look(check, f"{name} in {USER_ENVIRONMENT}", value.reason)
    return None


CHECK = Check(
    id="cache-folders",
    group="system",
    looks_at="The folders of Hugging Face models and of the kernels compiled by torch.compile and Triton: their length, letters and volume.",
    why="File names in these caches exceed 200 characters, and compilers run in them. In a long path, in OneDrive or with accented letters they fail with 'No such file' or 'Access is denied'.",
    by_hand=f"Create a folder such as C:\\aios-cache\\huggingface for each cache, and set HF_HOME, TORCHINDUCTOR_CACHE_DIR or TRITON_CACHE_DIR to it: {ENVIRONMENT_VARIABLES}.",
    probes=(CACHES,),
    judge=judge,
    systems=frozenset({"windows"}),
    at_times_because_of=(long_paths_check.CHECK,),
    requires=(Requirement((CACHES,), _unreadable_variable),),
)
