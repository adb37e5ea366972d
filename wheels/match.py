"""Match candidate wheels against rules: those that fit, best first, and the rejected ones with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from packaging.version import Version

from wheels.catalogue import Wheel
from wheels.machine import Machine, TorchBuild
from wheels.rules import Rule


class Rejected(NamedTuple):
    """A wheel that does not fit. `reason` is a clause: "was built for torch 2.9, not for 2.8"."""

    wheel: Wheel
    reason: str


@dataclass(frozen=True)
class Match:
    """`wheels`: all that fit, best first. `rejected`: the others; if none fits, the nearest misses first."""

    wheels: tuple[Wheel, ...]
    rejected: tuple[Rejected, ...]

    @property
    def best(self) -> Wheel | None:
        return self.wheels[0] if self.wheels else None

    @property
    def nearest(self) -> str | None:
        """The nearest miss if none fits, as a clause."""
        if self.wheels or not self.rejected:
            return None
        miss = self.rejected[0]
        return f"the nearest match, {miss.wheel.filename}, {miss.reason}"


def match(
    candidates: Iterable[Wheel],
    rules: Sequence[Rule],
    machine: Machine,
    torch: TorchBuild,
    preference: Callable[[Wheel], Any],
) -> Match:
    """Apply the rules to every candidate, in order. `preference` is the sort key of those that fit."""
    fitting, rejected = [], []
    for wheel in candidates:
        for rule in rules:
            if reason := rule(wheel, machine, torch):
                rejected.append(Rejected(wheel, reason))
                break
        else:
            fitting.append(wheel)
    if fitting:
        return Match(tuple(sorted(fitting, key=preference)), tuple(rejected))

    minor = torch.version.minor

    def distance(miss: Rejected) -> tuple[object, ...]:
        """Sort key: few broken rules, a near torch and Python, a new version."""
        wheel = miss.wheel
        broken = sum(rule(wheel, machine, torch) is not None for rule in rules)
        torch_away = abs(_minor(wheel.name.torch or "0.0") - minor)
        python_away = abs(_minor(wheel.name.pythons[-1]) - machine.python_release[1])
        return broken, torch_away, python_away, release_first(wheel.name.version), wheel.rank, wheel.filename

    return Match((), tuple(sorted(rejected, key=distance)))


def newest_first(*parts: int) -> tuple[int, ...]:
    """Sort key: larger numbers first."""
    return tuple(-part for part in parts)


@lru_cache(1024)
def release_first(version: str) -> tuple[int, ...]:
    """Sort key: the newest release first, then its newest post-release."""
    parsed = Version(version)
    return newest_first(*parsed.release, parsed.post or 0)


@lru_cache(1024)
def _minor(text: str) -> int:
    """ "2.13" -> 13, "cp312" -> 12."""
    digits = re.findall(r"\d+", text)
    return int(digits[1]) if len(digits) > 1 else int(digits[0][1:] or 0)
