"""A check: which facts it needs and how it judges them. One file below `doctor/checks` each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from doctor.actions import Action
from doctor.host import Host
from doctor.models import Finding

Facts = TypeVar("Facts")
SYSTEMS = {"windows": "Windows", "linux": "Linux", "macos": "macOS"}
Group = Literal["system", "gpu", "build-tools", "packages", "backends"]
GROUPS: dict[Group, str] = {
    "system": "System",
    "gpu": "GPU",
    "build-tools": "Build tools",
    "packages": "Packages",
    "backends": "Attention",
}


@dataclass(frozen=True)
class Probe(Generic[Facts]):
    """Collects facts from a host. Runs in parallel with the others, at most `timeout` seconds."""

    name: str
    collect: Callable[[Host], Facts]
    timeout: float = 10.0


@dataclass(frozen=True)
class Check:
    """A pure judgement on facts. `judge` takes the facts of `probes`, in their order."""

    id: str
    group: Group
    looks_at: str  # one line
    why: str  # why it matters
    by_hand: str  # how a person fixes it without the doctor
    probes: tuple[Probe[Any], ...]
    judge: Callable[..., Finding]
    systems: frozenset[str] = frozenset(SYSTEMS)
    because_of: tuple[Check, ...] = ()  # whose failure explains every failure of this one
    at_times_because_of: tuple[
        Check, ...
    ] = ()  # explains those of which the judgement says so (Finding.because_of)
    online: bool = False  # does it use the network?
    elevated: tuple[
        Action, ...
    ] = ()  # what its fix does as administrator: all that an elevated undo may touch
