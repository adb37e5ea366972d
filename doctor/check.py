"""A check: the facts that it needs and how it judges them. Each check has its own file in `doctor/checks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from doctor.actions import Action
from doctor.host import Reader
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
    """Collects facts from a host, in parallel with other probes and within `timeout` seconds."""

    name: str
    collect: Callable[[Reader], Facts]
    timeout: float = 10.0


@dataclass(frozen=True)
class Requirement:
    """A precondition of a check, tested before it judges.

    `unmet` takes the check's id and the facts of `probes`, in their order. It returns the finding to report instead of a
    judgement (skipped or unknown), or None if the precondition is met.
    """

    probes: tuple[Probe[Any], ...]
    unmet: Callable[..., Finding | None]


@dataclass(frozen=True)
class Check:
    """A pure judgement on facts. `judge` takes the facts of `probes`, in their order, once every requirement is met."""

    id: str
    group: Group
    looks_at: str  # one line
    why: str  # why it matters
    by_hand: str  # how a person fixes it without the doctor
    probes: tuple[Probe[Any], ...]
    judge: Callable[..., Finding]
    systems: frozenset[str] = frozenset(SYSTEMS)
    because_of: tuple[Check, ...] = ()  # their failure explains every failure of this check
    # Their failure explains only the findings that name them (Finding.because_of)
    at_times_because_of: tuple[Check, ...] = ()
    online: bool = False  # does it use the network?
    # Everything that its fixes do as administrator: an elevated undo touches nothing else
    elevated: tuple[Action, ...] = ()
    requires: tuple[Requirement, ...] = ()  # tested in this order

    @property
    def all_probes(self) -> tuple[Probe[Any], ...]:
        """The probes of `judge` and of `requires`, each once."""
        required = (probe for requirement in self.requires for probe in requirement.probes)
        return tuple({probe.name: probe for probe in (*self.probes, *required)}.values())
