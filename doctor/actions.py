"""The closed set of changes that a fix may consist of. Each is a target and the state it should have.

An action knows how to read its target's state, whether that is already the wanted one, how to bring it about, and the
action that puts an earlier state back (its inverse: the same target, the earlier state).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import Field

from doctor.host import Absent, Found, Frozen, Host, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.host.machine import FileContent
from doctor.installers import Ending, ending


class UnreadableStateError(Exception):
    """The target's present state cannot be seen, so it must not be changed."""


def _present(reading: Reading[Any], what: str) -> Any:
    """The value, None where there is none; raises UnreadableStateError where nobody can tell."""
    if isinstance(reading, Found):
        return reading.value
    if isinstance(reading, Absent):
        return None
    raise UnreadableStateError(f"{what}: {reading.reason}")


def expanded(host: Host, value: RegistryValue) -> str:
    """A variable's value as programs get it: %NAME% stands for another one in REG_EXPAND_SZ alone."""
    text = str(value.value)
    if value.type != "REG_EXPAND_SZ":
        return text
    return re.sub("%([^%]+)%", lambda part: host.variable(part[1]) or part[0], text)


def inherited(host: Host, name: str) -> str | None:
    """What a program started from the desktop gets as a variable: the user's value before the system's, expanded."""
    for key in (USER_ENVIRONMENT, SYSTEM_ENVIRONMENT):
        if isinstance(found := host.registry_value(key, name), Found):
            return expanded(host, found.value)
    return None


def _path(host: Host, path: str) -> PurePath:
    return PureWindowsPath(path) if host.identity.os == "windows" else PurePosixPath(path)


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
    def read(self, host: Host) -> Any:
        """The target's present state, in the form of `state`. Raises UnreadableStateError."""

    @abstractmethod
    def apply(self, host: Host) -> Ending | None:
        """Bring the wanted state about. Raises OSError. An installer says itself how it ended; all else is read back."""

    def is_met_by(self, state: Any) -> bool:
        """Is a state that was read the wanted one?"""
        return bool(state == self.state)  # type: ignore[attr-defined]

    def is_already_so(self, host: Host) -> bool:
        """Is there nothing to do? Raises UnreadableStateError."""
        return self.is_met_by(self.read(host))

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

    def show(self, state: Any) -> str:
        return f"without {', '.join(state)}" if state else "there"

    def read(self, host: Host) -> tuple[str, ...]:
        path = _path(host, self.path)
        if _present(host.list_directory(self.path), self.path) is not None:
            return ()
        missing = [str(path)]
        for folder in path.parents:
            if not isinstance(host.list_directory(str(folder)), Absent):
                break  # one that may not be listed is there
            missing.insert(0, str(folder))
        return tuple(missing)

    def apply(self, host: Host) -> None:
        removed = tuple(reversed(self.state))
        for folder, inner in zip(removed, ("", *removed), strict=False):
            names = _present(host.list_directory(folder), folder) or ()
            if others := [name for name in names if not inner or name != _path(host, inner).name]:
                raise OSError(f"{folder} is not empty: {others[0]} is in it")
        for folder in removed:
            host.remove_directory(folder)
        if not removed:
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


class EditUserPath(BaseAction):
    """The user's own part of PATH, whole and with its type; None removes it.

    Programs get the system's part before it. This program's PATH follows where it ends in the user's part: a terminal
    that took another turn keeps its own.
    """

    kind: Literal["edit-path-entry"] = "edit-path-entry"
    state: RegistryValue | None

    def describe(self) -> str:
        return (
            "remove the user's PATH" if self.state is None else f"set the user's PATH to {self.state.value}"
        )

    def read(self, host: Host) -> RegistryValue | None:
        value: RegistryValue | None = _present(host.registry_value(USER_ENVIRONMENT, "Path"), "Path")
        return value

    def apply(self, host: Host) -> None:
        before, after = (expanded(host, part) if part else "" for part in (self.read(host), self.state))
        host.set_registry_value(USER_ENVIRONMENT, "Path", self.state)
        present = host.variable("PATH") or ""
        if (path := _with_end(present, before, after)) != present:
            host.set_variable("PATH", path or None)
        host.broadcast_environment_change()


def _with_end(path: str, before: str, after: str) -> str:
    """PATH with its last part exchanged; as it is where it does not end so."""
    if not before:
        others = path
    elif path == before:
        others = ""
    elif path.endswith(f";{before}"):
        others = path[: -len(before) - 1]
    else:
        return path
    return ";".join(part for part in (others, after) if part)


class WriteFile(BaseAction):
    """A small file's whole content; None removes it."""

    kind: Literal["write-file"] = "write-file"
    path: str
    state: FileContent | None

    def describe(self) -> str:
        return f"remove {self.path}" if self.state is None else f"write {self.path}"

    def show(self, state: Any) -> str:
        return "absent" if state is None else f"a file of {len(state.to_bytes())} bytes"

    def read(self, host: Host) -> FileContent | None:
        content: bytes | None = _present(host.read_file(self.path), self.path)
        return None if content is None else FileContent.of(content)

    def apply(self, host: Host) -> None:
        folder = str(_path(host, self.path).parent)
        if isinstance(host.list_directory(folder), Absent):
            raise FileNotFoundError(f"{folder}: there is no such folder")  # one made here would not be undone
        host.write_file(self.path, None if self.state is None else self.state.to_bytes())


class MoveFolder(BaseAction):
    """A folder out of the way, on the same volume, where undo finds it again."""

    kind: Literal["move-folder"] = "move-folder"
    path: str
    aside: str
    state: Literal["in place", "aside"] = "aside"

    def describe(self) -> str:
        ends = (self.path, self.aside) if self.state == "aside" else (self.aside, self.path)
        return "move {} to {}".format(*ends)

    def read(self, host: Host) -> str:
        there = {p: _present(host.list_directory(p), p) is not None for p in (self.path, self.aside)}
        if there[self.path] == there[self.aside]:
            which = "both are there" if there[self.path] else "neither is there"
            raise UnreadableStateError(f"{self.path} and {self.aside}: {which}")
        return "in place" if there[self.path] else "aside"

    def apply(self, host: Host) -> None:
        if self.state == "aside":
            host.move_folder(self.path, self.aside)
        else:
            host.move_folder(self.aside, self.path)


class InstallPackages(BaseAction):
    """Packages of this Python, by pip. `state` gives each package's version specifier ("" for any), None: not there."""

    kind: Literal["install-packages"] = "install-packages"
    packages: tuple[str, ...]
    state: tuple[str | None, ...]

    @property
    def _wanted(self) -> dict[str, str | None]:
        return dict(zip(self.packages, self.state, strict=True))

    def describe(self) -> str:
        return f"have pip see to {self.show(self.state)}"

    def show(self, state: Any) -> str:
        versions = zip(self.packages, state, strict=True)
        return ", ".join(
            f"no {name}" if version is None else f"{name}{version}" for name, version in versions
        )

    def is_met_by(self, state: Any) -> bool:
        return all(map(_satisfies, state, self.state))

    def read(self, host: Host) -> tuple[str | None, ...]:
        present = (_present(host.distribution(name), name) for name in self.packages)
        return tuple(None if found is None else f"=={found.version}" for found in present)

    def apply(self, host: Host) -> None:
        host.set_packages(self._wanted)


def _satisfies(present: str | None, wanted: str | None) -> bool:
    """Is the version that is there ("==1.0", None for none) one of those wanted? "==1.0" wants no "1.0+cpu"."""
    if present is None or wanted is None or present == wanted:
        return present == wanted
    try:
        version = Version(present.removeprefix("=="))
        if re.fullmatch(r"==[^*,]+", wanted):
            return version == Version(wanted.removeprefix("=="))
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except (InvalidVersion, InvalidSpecifier):
        return False


class RunInstaller(BaseAction):
    """A program that installs something for the whole machine, in its own window. What it does is its own to undo."""

    kind: Literal["run-installer"] = "run-installer"
    product: str
    command: tuple[str, ...]
    state: Literal["run", "not run"] = "run"

    @property
    def undone_by_hand(self) -> str:
        return f"remove {self.product} in Windows' settings, Apps, Installed apps"

    def describe(self) -> str:
        return f"run {' '.join(self.command)}"

    def read(self, host: Host) -> str:
        return "not run"  # whether its product is there is for the check to judge

    def apply(self, host: Host) -> Ending:
        return ending(host.run_installer(self.command))


Action = Annotated[
    SetRegistryValue
    | SetUserEnvironmentVariable
    | EditUserPath
    | MakeDirectory
    | MoveFolder
    | WriteFile
    | SetGitSetting
    | InstallPackages
    | RunInstaller,
    Field(discriminator="kind"),
]
