"""The result of reading something on the machine: found, absent or unreadable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """It exists and has this value."""

    value: T


@dataclass(frozen=True)
class Absent:
    """It does not exist."""


@dataclass(frozen=True)
class Unreadable:
    """It could not be read: access denied, timed out, damaged. `reason` is a clause for the user."""

    reason: str

    @classmethod
    def because(cls, error: OSError | ValueError) -> Unreadable:
        """With the error message of the system; a denied access, the common case, has a text of our own."""
        if isinstance(error, PermissionError):
            return cls("access denied")
        return cls((error.strerror if isinstance(error, OSError) else None) or str(error))


Reading: TypeAlias = Found[T] | Absent | Unreadable


def as_unicode(text: str) -> str:
    """Return the text with surrogates, which the system could not decode, as escapes: any file can store it."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
