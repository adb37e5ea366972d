"""The wheel for a machine, or why there is none: every candidate that was rejected, with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from wheels.catalogue import Wheel

WhyNot = Callable[[Wheel], str | None]  # a clause: "was built for torch 2.9, not for 2.8"; None: it fits
Preference = Callable[[Wheel], Any]  # sorts, the best one first


class Rejected(NamedTuple):
    """A wheel that does not fit, and why: a clause."""

    wheel: Wheel
    reason: str


@dataclass(frozen=True)
class Match:
    """`wheels` are all that fit, the best one first."""

    wheels: tuple[Wheel, ...]
    rejected: tuple[Rejected, ...]

    @property
    def best(self) -> Wheel | None:
        return self.wheels[0] if self.wheels else None

    @property
    def commonest_reasons(self) -> tuple[str, ...]:
        """Why most candidates were rejected, the commonest reason first."""
        return tuple(reason for reason, _ in Counter(one.reason for one in self.rejected).most_common())


def match(candidates: Iterable[Wheel], why_not: WhyNot, preference: Preference) -> Match:
    """Judge every candidate."""
    fitting, rejected = [], []
    for wheel in candidates:
        reason = why_not(wheel)
        if reason is None:
            fitting.append(wheel)
        else:
            rejected.append(Rejected(wheel, reason))
    return Match(tuple(sorted(fitting, key=preference)), tuple(rejected))
