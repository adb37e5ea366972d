"""The wheels that fit, best first, and every candidate that was rejected, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wheels.catalogue import Wheel
from wheels.machine import Machine, TorchBuild
from wheels.rules import Rule


class Rejected(NamedTuple):
    """A wheel that does not fit: why (a clause: "was built for torch 2.9, not for 2.8"), and how many rules it kept."""

    wheel: Wheel
    reason: str
    kept: int


@dataclass(frozen=True)
class Match:
    """`wheels` are all that fit, the best one first."""

    wheels: tuple[Wheel, ...]
    rejected: tuple[Rejected, ...]

    @property
    def best(self) -> Wheel | None:
        return self.wheels[0] if self.wheels else None

    @property
    def nearest(self) -> tuple[str, ...]:
        """Why those were rejected that came nearest to fitting, each reason once."""
        most = max((rejected.kept for rejected in self.rejected), default=0)
        return tuple(dict.fromkeys(r.reason for r in self.rejected if r.kept == most))


def match(
    candidates: Iterable[Wheel],
    rules: Sequence[Rule],
    machine: Machine,
    torch: TorchBuild,
    preference: Callable[[Wheel], Any],
) -> Match:
    """Hold every candidate to the rules, in their order; `preference` sorts what fits, the best one first."""
    fitting, rejected = [], []
    for wheel in candidates:
        for kept, rule in enumerate(rules):
            if reason := rule(wheel, machine, torch):
                rejected.append(Rejected(wheel, reason, kept))
                break
        else:
            fitting.append(wheel)
    return Match(tuple(sorted(fitting, key=preference)), tuple(rejected))


def newest_first(*numbers: int) -> tuple[int, ...]:
    """A sort key."""
    return tuple(-number for number in numbers)
