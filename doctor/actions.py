"""The closed set of changes that a fix may consist of. Each is a target and the state it should have.

An action knows how to read its target's state, whether that is already the wanted one, how to bring it about, and the
action that puts an earlier state back (its inverse: the same target, the earlier state).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import Field

from doctor.host import Absent, Found, Frozen, Host, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT


class UnreadableStateError(Exception):
    """The target's present state cannot be seen, so it must not be changed."""


def _present(reading: Reading[Any], what: str) -> Any:
    """The value, None where there is none; raises UnreadableStateError where nobody can tell."""
    if isinstance(reading, Found):
        return reading.value
    if isinstance(reading, Absent):
        return None
    raise UnreadableStateError(f"{what}: {reading.reason}")


def inherited(host: Host, name: str) -> str | None:
    """What a program started from the desktop gets as a variable: the user's value before the system's, expanded."""
    for key in (USER_ENVIRONMENT, SYSTEM_ENVIRONMENT):
        if isinstance(found := host.registry_value(key, name), Found):
            text = str(found.value.value)
            if found.value.type != "REG_EXPAND_SZ":
                return text
            return re.sub("%([^%]+)%", lambda part: host.variable(part[1]) or part[0], text)
    return None


def show(state: Any) -> str:
    """An action's state in words."""
    if isinstance(state, RegistryValue):
        return f"{state.value} ({state.type})"
    if isinstance(state, tuple):
        return f"without {', '.join(state)}" if state else "there"
    return "absent" if state is None else str(state)


class BaseAction(Frozen, ABC):
    """A target (every field but `state`) and its wanted `state`; a state says everything that undo must restore."""

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

    def has_same_target(self, other: Action) -> bool:
        """Do both change the same thing?"""
        return self.model_dump(exclude={"state"}) == other.model_dump(exclude={"state"})

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
        if self.state is None:
            return f"remove {where}"
        return f"set {where} = {self.state.value} ({self.state.type})"

    def read(self, host: Host) -> RegistryValue | None:
        where = f"{self.key}\\{self.name}"
        value: RegistryValue | None = _present(host.registry_value(self.key, self.name), where)
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
        host.set_variable(self.name, inherited(host, self.name))
        host.broadcast_environment_change()


class MakeDirectory(BaseAction):
    """A folder with its parents. `state` names the folders on the way to `path` that do not exist, outermost first."""

    kind: Literal["make-directory"] = "make-directory"
    path: str
    state: tuple[str, ...] = ()

    def describe(self) -> str:
        if self.state:
            return f"remove {', '.join(reversed(self.state))} where empty"
        return f"make the folder {self.path}"

    def read(self, host: Host) -> tuple[str, ...]:
        path: PurePath = (
            PureWindowsPath(self.path) if host.identity.os == "windows" else PurePosixPath(self.path)
        )
        if _present(host.list_directory(self.path), self.path) is not None:
            return ()
        missing = [str(path)]
        for folder in path.parents:
            if not isinstance(host.list_directory(str(folder)), Absent):
                break  # one that may not be listed is there
            missing.insert(0, str(folder))
        return tuple(missing)

    def apply(self, host: Host) -> None:
        for folder in reversed(self.state):
            host.remove_directory(folder)
        if not self.state:
            for folder in self.read(host):
                host.make_directory(folder)


class SetGitSetting(BaseAction):
    """A setting in this user's git configuration (`git config --global`); None removes it."""

    kind: Literal["set-git-setting"] = "set-git-setting"
    name: str
    state: str | None

    def describe(self) -> str:
        return f"remove git's {self.name}" if self.state is None else f"set git's {self.name} = {self.state}"

    def read(self, host: Host) -> str | None:
        value: str | None = _present(host.git_setting(self.name, "user"), f"git's {self.name}")
        return value

    def apply(self, host: Host) -> None:
        host.set_git_setting(self.name, self.state)


Action = Annotated[
    SetRegistryValue | SetUserEnvironmentVariable | MakeDirectory | SetGitSetting, Field(discriminator="kind")
]
