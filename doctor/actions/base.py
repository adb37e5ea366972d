"""The base class of actions, and how the state of a target is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from doctor.actions.outcome import Outcome
from doctor.host import Absent, Found, Frozen, Host, Reader, Reading, RegistryValue

if TYPE_CHECKING:
    from doctor.actions import Action


class UnreadableStateError(Exception):
    """The present state of a target cannot be read, so the target must not be changed."""


def value_of(reading: Reading[Any], what: str) -> Any:
    """Return the value, or None if it is absent. Raises UnreadableStateError if it cannot be read."""
    if isinstance(reading, Found):
        return reading.value
    if isinstance(reading, Absent):
        return None
    raise UnreadableStateError(f"{what}: {reading.reason}")


class BaseAction(Frozen, ABC):
    """A target (every field except `state`) and its desired `state`. A state holds everything that undo must restore."""

    @property
    def needs_elevation(self) -> bool:
        """Whether the action needs administrator rights."""
        return False

    @property
    def manual_undo(self) -> str | None:
        """How to undo the action by hand, if the doctor can neither read nor restore the earlier state; else None."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """One line that says what the action does."""

    def show(self, state: Any) -> str:
        """A state of the target, in words."""
        if isinstance(state, RegistryValue):
            return f"{state.value} ({state.type})"
        return "absent" if state is None else str(state)

    @abstractmethod
    def read(self, host: Reader) -> Any:
        """Return the present state of the target, in the form of `state`. Raises UnreadableStateError."""

    @abstractmethod
    def apply(self, host: Host) -> Outcome | None:
        """Change the target to the desired state. Raises OSError.

        None: reading the state back shows whether it worked. An installer returns its own outcome.
        """

    def is_halfway(self, now: Any, before: Any) -> bool:
        """Whether a kill during `apply` can leave the state `now`, where the earlier state was `before`."""
        return False

    def remove_leftovers(self, host: Host) -> None:
        """Remove what a kill during `apply` left beside the target. Raises OSError."""

    def is_met_by(self, state: Any) -> bool:
        """Whether a state that was read is the desired one."""
        return bool(state == self.state)  # type: ignore[attr-defined]

    def is_applied(self, host: Reader) -> bool:
        """Whether the target already has the desired state. Raises UnreadableStateError."""
        return self.is_met_by(self.read(host))

    def has_same_target(self, other: Action) -> bool:
        """Whether both actions change the same thing."""
        return self.model_dump(exclude={"state"}) == other.model_dump(exclude={"state"})

    def inverse(self, before: Any) -> Action:
        """The action that restores the state `before`."""
        return type(self).model_validate({**self.model_dump(), "state": before})  # type: ignore[return-value]
