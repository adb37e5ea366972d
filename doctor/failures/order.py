"""Order the failures found in a log: root cause first, without those that others explain."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from doctor.failures.match import Sighting
from doctor.failures.table import FailureTable


@dataclass(frozen=True)
class Placed:
    """A failure in its place; `depth`: the number of its causes above it."""

    sighting: Sighting
    certain: bool
    depth: int = 0


def arrange(
    sightings: Sequence[Sighting], table: FailureTable, failing: Collection[str] = ()
) -> tuple[Placed, ...]:
    """Put causes before consequences, certain failures first, then errors before warnings, and harmless ones last.

    A failure is certain if one of its symptoms is specific to it, or if its check is among `failing`, the checks that fail
    on this machine. A possible failure is left out if certain ones explain all of its lines, or if the log does not name
    the package that the failure is about; a last resort, if any other is certain.
    """
    certain = {seen for seen in sightings if seen.certain or seen.failure.check in failing}
    explained = frozenset[int]().union(*(seen.lines for seen in certain))
    kept = [seen for seen in sightings if seen in certain or (seen.supported and not seen.lines <= explained)]
    if any(not seen.failure.last_resort and not seen.harmless for seen in certain):
        kept = [seen for seen in kept if not seen.failure.last_resort]
    names = {seen.failure.id: seen for seen in reversed(kept)}

    def rank(seen: Sighting) -> tuple[bool, bool, bool, int]:
        return seen.harmless, seen not in certain, seen.warning, seen.line

    def cause(seen: Sighting) -> Sighting | None:
        above = (names[name] for name in table.causes(seen.failure) if name in names)
        return next((other for other in above if other in certain or seen not in certain), None)

    consequences: dict[Sighting | None, list[Sighting]] = {}
    for seen in sorted(kept, key=rank):
        consequences.setdefault(cause(seen), []).append(seen)

    def below(parent: Sighting | None, depth: int) -> list[Placed]:
        placed = []
        for seen in consequences.get(parent, []):
            placed += [Placed(seen, seen in certain, depth), *below(seen, depth + 1)]
        return placed

    return tuple(below(None, 0))
