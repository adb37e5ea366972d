"""Root cause first: which of the failures seen explain the others, and which may be left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from doctor.failures.match import Sighting
from doctor.failures.table import FailureTable


@dataclass(frozen=True)
class Placed:
    """A failure in its place: `depth` is how many causes stand above it."""

    sighting: Sighting
    certain: bool
    depth: int = 0


def arrange(
    sightings: Sequence[Sighting], table: FailureTable, failing: Collection[str] = ()
) -> tuple[Placed, ...]:
    """Causes before their consequences, what is certain before what may be, what is harmless last.

    A failure is certain if the log shows a symptom of it alone, or if its check is among `failing`, the checks that
    find a fault on this machine. One that is not is left out where certain ones explain every line that it was seen on.
    """
    certain = [seen for seen in sightings if seen.certain or seen.failure.check in failing]
    explained = frozenset[int]().union(*(seen.lines for seen in certain))
    kept = [seen for seen in sightings if seen in certain or not seen.lines <= explained]
    names = {seen.failure.id: seen for seen in kept}

    def rank(seen: Sighting) -> tuple[bool, bool, int]:
        return seen.harmless, seen not in certain, seen.line

    def cause(seen: Sighting) -> Sighting | None:
        above = (names[name] for name in table.causes(seen.failure) if name in names)
        return next((other for other in above if other in certain or seen not in certain), None)

    def below(parent: Sighting | None, depth: int) -> list[Placed]:
        placed = []
        for seen in sorted((seen for seen in kept if cause(seen) is parent), key=rank):
            placed += [Placed(seen, seen in certain, depth), *below(seen, depth + 1)]
        return placed

    return tuple(below(None, 0))
