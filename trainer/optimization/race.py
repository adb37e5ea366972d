"""The order in which candidates are measured, when one is given up, and who wins.

Candidates race one after the other, the most promising first. With `search`, a candidate is stopped as soon as it is clearly
slower than the best so far: after one counted step by 25%, after two by 10%. One that needs more memory than another that
ran out of memory is not started. So most candidates cost a start and two or three steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trainer.optimization.candidates import Candidate
from trainer.optimization.measurement import Measured

SLOWER = (1.25, 1.10)  # than the best, after one step and after more
GiveUp = Callable[[Measured], bool]
Measure = Callable[[Candidate, GiveUp], Measured]


@dataclass(frozen=True)
class Result:
    """A candidate and what became of it. `lost` says why it is not recommended; None for the winner."""

    measured: Measured
    lost: str | None = None


def race(
    candidates: Sequence[Candidate],
    measure: Measure,
    known: Sequence[Measured],
    search: bool,
    reserve: float,
    report: Callable[[Measured], None],
) -> list[Measured]:
    """Measure all candidates.

    Args:
        known: measured by an earlier session, and not measured again.
        reserve: the fraction of the memory that must stay free.
        report: called with each result.
    """
    found: list[Measured] = []
    earlier = {each.candidate: each for each in known}
    for candidate in candidates:
        if candidate in earlier:
            found.append(earlier[candidate])
            continue
        failed = next(
            (each for each in found if each.oom and candidate.needs_more_memory_than(each.candidate)), None
        )
        if search and failed:
            reason = f"not run: needs more memory than {failed.candidate}, which ran out of it"
            found.append(Measured(candidate, oom=True, error=reason))
        else:
            best = max((each.tokens_per_second for each in found if fits(each, reserve)), default=0.0)
            found.append(measure(candidate, _slower_than(best) if search else _never))
        report(found[-1])
    return found


def fits(measured: Measured, reserve: float) -> bool:
    """Whether a candidate can be recommended: it ran to its end, and left the reserve."""
    return not measured.error and not measured.given_up and why_too_large(measured, reserve) is None


def why_too_large(measured: Measured, reserve: float) -> str | None:
    """Why a candidate uses too much memory; None if it does not."""
    if not measured.available:
        return None
    used = measured.peak_memory / measured.available
    if used > 1:
        return "spills into the host's memory (shared GPU memory): slow instead of out of memory"
    return f"uses {used:.0%} of the memory; {reserve:.0%} stay in reserve" if used > 1 - reserve else None


def ranked(found: Sequence[Measured], reserve: float) -> list[Result]:
    """The winner first, then the others by tokens per second, each with the reason why it lost."""
    order = sorted(found, key=lambda each: (not fits(each, reserve), -each.tokens_per_second))
    results = [Result(each, each.error or why_too_large(each, reserve)) for each in order]
    if not order or results[0].lost or order[0].given_up:
        return [replace(each, lost=each.lost or "stopped early") for each in results]
    best = order[0].tokens_per_second
    slower = [
        f"{1 - each.tokens_per_second / best:.0%} slower{' (stopped early)' * each.given_up}"
        for each in order
    ]
    return [
        results[0],
        *(replace(each, lost=each.lost or how) for each, how in zip(results[1:], slower[1:], strict=True)),
    ]


def _slower_than(best: float) -> GiveUp:
    def give_up(measured: Measured) -> bool:
        allowed = SLOWER[min(len(measured.seconds), len(SLOWER)) - 1]
        return measured.tokens_per_second * allowed < best

    return give_up


def _never(measured: Measured) -> bool:
    return False
