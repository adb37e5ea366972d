"""Actions on settings: registry values, the user's environment variables and PATH, git."""

from __future__ import annotations

from typing import Literal

from doctor.actions.base import BaseAction, value_of
from doctor.host import Host, Reader, RegistryValue
from doctor.host.base import USER_ENVIRONMENT
from doctor.host.variables import expanded, inherited


class SetRegistryValue(BaseAction):
    """A registry value with its type, below HKLM (needs elevation) or HKCU; None removes it."""

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

    def read(self, host: Reader) -> RegistryValue | None:
        where = f"{self.key}\\{self.name}"
        value: RegistryValue | None = value_of(host.registry_value(self.key, self.name), where)
        return value

    def apply(self, host: Host) -> None:
        host.set_registry_value(self.key, self.name, self.state)


class SetUserEnvironmentVariable(BaseAction):
    """An environment variable of the user, for new programs and for child processes of this one. None removes it.

    Written to the registry directly: `setx` truncates values at 1,024 characters and turns REG_EXPAND_SZ into REG_SZ.
    """

    kind: Literal["set-user-environment-variable"] = "set-user-environment-variable"
    name: str
    state: RegistryValue | None

    def describe(self) -> str:
        if self.state is None:
            return f"remove the user environment variable {self.name}"
        return f"set the user environment variable {self.name} = {self.state.value}"

    def read(self, host: Reader) -> RegistryValue | None:
        value: RegistryValue | None = value_of(host.registry_value(USER_ENVIRONMENT, self.name), self.name)
        return value

    def apply(self, host: Host) -> None:
        host.set_registry_value(USER_ENVIRONMENT, self.name, self.state)
        host.set_variable(self.name, inherited(host, self.name))
        host.broadcast_environment_change()


class EditUserPath(BaseAction):
    """The user's part of PATH, whole and with its type; None removes it.

    Programs get the system's part of PATH followed by the user's. The PATH of this process is changed only if it ends
    with the user's part: a terminal may have set its own.
    """

    kind: Literal["edit-path-entry"] = "edit-path-entry"
    state: RegistryValue | None

    def describe(self) -> str:
        return (
            "remove the user's PATH" if self.state is None else f"set the user's PATH to {self.state.value}"
        )

    def read(self, host: Reader) -> RegistryValue | None:
        value: RegistryValue | None = value_of(host.registry_value(USER_ENVIRONMENT, "Path"), "Path")
        return value

    def apply(self, host: Host) -> None:
        before, after = (expanded(host, part) if part else "" for part in (self.read(host), self.state))
        host.set_registry_value(USER_ENVIRONMENT, "Path", self.state)
        present = host.variable("PATH") or ""
        if (path := _with_end(present, before, after)) != present:
            host.set_variable("PATH", path or None)
        host.broadcast_environment_change()


def _with_end(path: str, before: str, after: str) -> str:
    """PATH with its end `before` replaced by `after`; unchanged if it does not end with `before`."""
    if not before:
        others = path
    elif path == before:
        others = ""
    elif path.endswith(f";{before}"):
        others = path[: -len(before) - 1]
    else:
        return path
    return ";".join(part for part in (others, after) if part)


class SetGitSetting(BaseAction):
    """A setting in the user's git configuration (`git config --global`); None removes it."""

    kind: Literal["set-git-setting"] = "set-git-setting"
    name: str
    state: str | None

    def describe(self) -> str:
        return f"remove git's {self.name}" if self.state is None else f"set git's {self.name} = {self.state}"

    def read(self, host: Reader) -> str | None:
        value: str | None = value_of(host.git_setting(self.name, "user"), f"git's {self.name}")
        return value

    def apply(self, host: Host) -> None:
        host.set_git_setting(self.name, self.state)
