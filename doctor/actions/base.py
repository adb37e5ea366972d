"""What every action is, and how a state is read that must not be guessed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from doctor.actions.installer_exit_codes import Ending
from doctor.host import Absent, Found, Frozen, Host, Reader, Reading, RegistryValue

if TYPE_CHECKING:
    from doctor.actions import Action


class UnreadableStateError(Exception):
    """The target's present state cannot be seen, so it must not be changed."""


def value_of(reading: Reading[Any], what: str) -> Any:
    """The value, None where there is none; raises UnreadableStateError where nobody can tell."""
    if isinstance(reading, Found):
        return reading.value
    if isinstance(reading, Absent):
        return None
    raise UnreadableStateError(f"{what}: {reading.reason}")


class BaseAction(Frozen, ABC):
    """A target (every field but `state`) and its wanted `state`; a state says everything that undo must restore."""

    @property
    def needs_elevation(self) -> bool:
        """Must an administrator do it?"""
        return False

    @property
    def undone_by_hand(self) -> str | None:
        """How a person undoes it, where the doctor can neither see nor put back an earlier state; else None."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """What applying it does, in one line."""

    def show(self, state: Any) -> str:
        """A state of the target, in words."""
        if isinstance(state, RegistryValue):
            return f"{state.value} ({state.type})"
        return "absent" if state is None else str(state)

    @abstractmethod
    def read(self, host: Reader) -> Any:
        """The target's present state, in the form of `state`. Raises UnreadableStateError."""

    @abstractmethod
    def apply(self, host: Host) -> Ending | None:
        """Bring the wanted state about. Raises OSError. An installer says itself how it ended; all else is read back."""

    def is_met_by(self, state: Any) -> bool:
        """Is a state that was read the wanted one?"""
        return bool(state == self.state)  # type: ignore[attr-defined]

    def is_already_so(self, host: Reader) -> bool:
        """Is there nothing to do? Raises UnreadableStateError."""
        return self.is_met_by(self.read(host))

    def has_same_target(self, other: Action) -> bool:
        """Do both change the same thing?"""
        return self.model_dump(exclude={"state"}) == other.model_dump(exclude={"state"})

    def inverse(self, before: Any) -> Action:
        """The action that puts the state `before` back."""
        return type(self).model_validate({**self.model_dump(), "state": before})  # type: ignore[return-value]
