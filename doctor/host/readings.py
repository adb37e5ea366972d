"""What comes back when the doctor looks at something: it is there, it is not there, or it could not be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """It is there, and this is its value."""

    value: T


@dataclass(frozen=True)
class Absent:
    """Looked, and it is not there."""


@dataclass(frozen=True)
class Unreadable:
    """Could not look: access denied, timed out, garbage. `reason` is a clause that a person understands."""

    reason: str

    @classmethod
    def because(cls, error: OSError | ValueError) -> Unreadable:
        """What the system answered, in its words; refusals in ours, since they are the common case."""
        if isinstance(error, PermissionError):
            return cls("access denied")
        return cls((error.strerror if isinstance(error, OSError) else None) or str(error))


Reading: TypeAlias = Found[T] | Absent | Unreadable


def as_unicode(text: str) -> str:
    """Text that any file and stream can hold: what the system could not decode is shown as an escape."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
