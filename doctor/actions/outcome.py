"""The outcome of an action."""

from __future__ import annotations

from typing import Literal

from doctor.host import Frozen

Result = Literal["applied", "already so", "refused", "failed"]


class Outcome(Frozen):
    """The outcome of an action.

    Attributes:
        result: `already so`: nothing had to be done; `refused`: nothing was done, because it would have been wrong or the
            user declined.
        reason: why the change was not made, or what else there is to know.
        restart: whether the change takes effect only after a restart of the computer.
    """

    result: Result
    reason: str = ""
    restart: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the target now has the desired state."""
        return self.result in ("applied", "already so")
