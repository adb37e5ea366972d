"""All checks. Each has its own file: the facts it needs, how it judges them, and its fix."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from doctor.check import Check
from doctor.checks import backends, build_tools, gpu, packages, system

# Causes before consequences, as far as possible
CHECKS: tuple[Check, ...] = (
    *system.CHECKS,
    *gpu.CHECKS,
    *build_tools.CHECKS,
    *packages.CHECKS,
    *backends.CHECKS,
)


class UnknownCheckError(ValueError):
    """There is no check of that name."""

    def __init__(self, name: str, checks: Sequence[Check]) -> None:
        near = get_close_matches(name, [check.id for check in checks], cutoff=0.5)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"There is no check '{name}'.{meant} Run `aios doctor list` to see all checks.")


def select(
    checks: Sequence[Check], only: Collection[str] = (), skip: Collection[str] = ()
) -> tuple[Check, ...]:
    """Return the checks named by `only` (empty: all) without those named by `skip`. Raises UnknownCheckError."""
    wanted, unwanted = _named(only, checks), _named(skip, checks)
    return tuple(check for check in checks if (not only or check.id in wanted) and check.id not in unwanted)


def _named(names: Collection[str], checks: Sequence[Check]) -> frozenset[str]:
    """Return the ids that match the names or patterns ("backend-*"). Raises UnknownCheckError."""
    chosen: set[str] = set()
    for name in names:
        matching = {check.id for check in checks if fnmatchcase(check.id, name)}
        if not matching:
            raise UnknownCheckError(name, checks)
        chosen |= matching
    return frozenset(chosen)
