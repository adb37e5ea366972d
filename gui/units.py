"""Memory and time as a person reads them."""

from __future__ import annotations

GIB, MIB = 2**30, 2**20


def gib(size: int | None) -> str:
    """1.25 GiB; ? for an unknown size."""
    return "?" if size is None else f"{size / GIB:.2f} GiB"


def mib(size: int) -> str:
    """350 MiB, and 0.3 MiB where that is what there is."""
    return f"{size / MIB:,.0f} MiB" if size >= 10 * MIB else f"{size / MIB:.1f} MiB"


def duration(seconds: float) -> str:
    """2 h 5 min, 12 min or 40 s."""
    whole = int(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{whole} s"
