"""The closed set of changes that a fix may consist of. Each is a target and the state it should have.

An action knows how to read its target's state, whether that is already the wanted one, how to bring it about, and the
action that puts an earlier state back (its inverse: the same target, the earlier state).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from doctor.host import Absent, Found, Frozen, Host, Reading, RegistryValue

USER_ENVIRONMENT = r"HKCU\Environment"


class UnreadableStateError(Exception):
    """The target's present state cannot be seen, so it must not be changed."""


def _present(reading: Reading[Any], what: str) -> Any:
    """The value, None where there is none; raises UnreadableStateError where nobody can tell."""
    if isinstance(reading, Found):
        return reading.value
    if isinstance(reading, Absent):
        return None
    raise UnreadableStateError(f"{what}: {reading.reason}")


class BaseAction(Frozen, ABC):
    """A target (every field but `state`) and its wanted `state`; None means that it should not exist."""

    @property
    def needs_elevation(self) -> bool:
        """Must an administrator do it?"""
        return False

    @abstractmethod
    def describe(self) -> str:
        """What applying it does, in one line."""

    @abstractmethod
    def read(self, host: Host) -> Any:
        """The target's present state, in the form of `state`. Raises UnreadableStateError."""

    @abstractmethod
    def apply(self, host: Host) -> None:
        """Bring the wanted state about. Raises OSError."""

    def is_already_so(self, host: Host) -> bool:
        """Is there nothing to do? Raises UnreadableStateError."""
        return bool(self.read(host) == self.state)  # type: ignore[attr-defined]

    def inverse(self, before: Any) -> Action:
        """The action that puts the state `before` back."""
        return type(self).model_validate({**self.model_dump(), "state": before})  # type: ignore[return-value]


class SetRegistryValue(BaseAction):
    """A value below HKLM (needs elevation) or HKCU, with its type; None removes it."""

    kind: Literal["set-registry-value"] = "set-registry-value"
    key: str
    name: str
    state: RegistryValue | None

    @property
    def needs_elevation(self) -> bool:
        return self.key.upper().startswith("HKLM\\")

    def describe(self) -> str:
        where = f"{self.key}\\{self.name}"
        return (
            f"remove {where}"
            if self.state is None
            else f"set {where} = {self.state.value} ({self.state.type})"
        )

    def read(self, host: Host) -> RegistryValue | None:
        value: RegistryValue | None = _present(
            host.registry_value(self.key, self.name), f"{self.key}\\{self.name}"
        )
        return value

    def apply(self, host: Host) -> None:
        host.set_registry_value(self.key, self.name, self.state)


class SetUserEnvironmentVariable(BaseAction):
    """A variable of this user, for new programs and for this program's children. None removes it.

    Written to the registry directly: `setx` cuts values at 1,024 characters and flattens REG_EXPAND_SZ.
    """

    kind: Literal["set-user-environment-variable"] = "set-user-environment-variable"
    name: str
    state: RegistryValue | None

    def describe(self) -> str:
        if self.state is None:
            return f"remove the user environment variable {self.name}"
        return f"set the user environment variable {self.name} = {self.state.value}"

    def read(self, host: Host) -> RegistryValue | None:
        value: RegistryValue | None = _present(host.registry_value(USER_ENVIRONMENT, self.name), self.name)
        return value

    def apply(self, host: Host) -> None:
        host.set_registry_value(USER_ENVIRONMENT, self.name, self.state)
        host.set_variable(self.name, None if self.state is None else str(self.state.value))
        host.broadcast_environment_change()


class MakeDirectory(BaseAction):
    """A folder: `state` True makes it with its parents; False removes it where it is empty."""

    kind: Literal["make-directory"] = "make-directory"
    path: str
    state: bool = True

    def describe(self) -> str:
        return f"make the folder {self.path}" if self.state else f"remove the empty folder {self.path}"

    def read(self, host: Host) -> bool:
        return _present(host.list_directory(self.path), self.path) is not None

    def apply(self, host: Host) -> None:
        if self.state:
            host.make_directory(self.path)
        else:
            host.remove_directory(self.path)


class SetGitSetting(BaseAction):
    """A setting in this user's git configuration (`git config --global`); None removes it."""

    kind: Literal["set-git-setting"] = "set-git-setting"
    name: str
    state: str | None

    def describe(self) -> str:
        return f"remove git's {self.name}" if self.state is None else f"set git's {self.name} = {self.state}"

    def read(self, host: Host) -> str | None:
        value: str | None = _present(host.git_setting(self.name), f"git's {self.name}")
        return value

    def apply(self, host: Host) -> None:
        host.set_git_setting(self.name, self.state)


Action = Annotated[
    SetRegistryValue | SetUserEnvironmentVariable | MakeDirectory | SetGitSetting, Field(discriminator="kind")
]
