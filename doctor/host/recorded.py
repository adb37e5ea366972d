"""The host of a recorded machine: it reads the recording, and changes a copy of it in memory."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TypeVar

from packaging.utils import canonicalize_name

from doctor.host.base import (
    Binary,
    Completed,
    Distribution,
    ElevationRefused,
    GitScope,
    Identity,
    Memory,
    NvidiaDriver,
    OwnFiles,
    Reached,
    RegistryValue,
    RunningProgram,
    Volume,
)
from doctor.host.libraries import LIBRARY
from doctor.host.machine import (
    NOT_RECORDED,
    Entry,
    FileContent,
    MachineFileError,
    NotSeen,
    RecordedMachine,
    load_machine,
    to_reading,
)
from doctor.host.readings import Absent, Found, Reading, Unreadable

__all__ = ["MachineFileError", "RecordedHost", "RecordedMachine", "command_line", "load_machine"]

V = TypeVar("V")


def command_line(command: Sequence[str], executable: str, programs: Mapping[str, Entry[str]]) -> str:
    """The name of a command in a recording: this Python is `python`, a program found on PATH has its name."""
    program, *arguments = command
    if program == executable:
        program = "python"
    else:
        program = next((name for name, path in programs.items() if path == program), program)
    return " ".join([program, *arguments])


class RecordedHost:
    """Reads and changes a recorded machine; `machine` is its present state.

    The names of keys, files and variables are case-insensitive if the recorded system is Windows. A removed value becomes
    `null`, as if it had never existed.
    """

    def __init__(self, machine: RecordedMachine) -> None:
        self._machine = machine.model_copy(deep=True)
        self._windows = machine.identity.os == "windows"

    @property
    def machine(self) -> RecordedMachine:
        return self._machine.model_copy(deep=True)

    @property
    def identity(self) -> Identity:
        return self._machine.identity

    # -- reading
    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]:
        values = self._machine.registry.get(self._spelling(self._machine.registry, key), {})
        return self._reading(values, name)

    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]:
        return self._reading(self._machine.registry_subkeys, key)

    def variable(self, name: str) -> str | None:
        environment = self._machine.environment
        return environment.get(self._spelling(environment, name))

    def variable_names(self, prefix: str) -> tuple[str, ...]:
        start = self._fold(prefix)
        return tuple(sorted(n for n in self._machine.environment if self._fold(n).startswith(start)))

    def read_file(self, path: str) -> Reading[bytes]:
        reading = self._path_reading(self._machine.files, path)
        return Found(reading.value.to_bytes()) if isinstance(reading, Found) else reading

    def list_directory(self, path: str) -> Reading[tuple[str, ...]]:
        return self._path_reading(self._machine.directories, path)

    def libraries_below(self, folder: str, without: Collection[str] = ()) -> Reading[tuple[str, ...]]:
        reading = self._path_reading(self._machine.libraries, folder)
        if reading != to_reading(NOT_RECORDED):
            return reading
        top = self.list_directory(folder)
        if not isinstance(top, Found):
            return top
        return Found(tuple(self._libraries_in_directories(folder, without)))

    def _libraries_in_directories(self, folder: str, without: Collection[str]) -> Iterator[str]:
        """Yield the libraries in the recorded folders: a recording made by hand has no `libraries`."""
        for place, names in sorted(self._machine.directories.items()):
            path = self._path(place)
            if not isinstance(names, tuple) or not path.is_relative_to(self._path(folder)):
                continue
            inside = path.relative_to(self._path(folder))
            if not (inside.parts and inside.parts[0] in without):
                yield from ((inside / name).as_posix() for name in names if LIBRARY.fullmatch(name))

    def find_program(self, name: str) -> Reading[str]:
        return self._reading(self._machine.programs, name)

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        """The recorded result of the command; `command_line` gives its key."""
        if isinstance(self.find_program(command[0]), Absent):
            return Absent()
        line = command_line(command, self.identity.executable, self._machine.programs)
        return to_reading(self._machine.runs.get(line, NOT_RECORDED))

    def distribution(self, name: str) -> Reading[Distribution]:
        known = {canonicalize_name(n): entry for n, entry in self._machine.distributions.items()}
        missing = None if self._machine.distributions_complete else NOT_RECORDED
        return to_reading(known.get(canonicalize_name(name), missing))

    def distributions(self) -> Reading[tuple[Distribution, ...]]:
        if not self._machine.distributions_complete:
            return to_reading(NOT_RECORDED)
        entries = self._machine.distributions.values()
        return Found(tuple(entry for entry in entries if isinstance(entry, Distribution)))

    def own_files(self) -> Reading[OwnFiles]:
        return to_reading(self._machine.own_files)

    def volume(self, path: str) -> Reading[Volume]:
        return self._path_reading(self._machine.volumes, path)

    def memory(self) -> Reading[Memory]:
        return to_reading(self._machine.memory)

    def binary(self, path: str) -> Reading[Binary]:
        return self._path_reading(self._machine.binaries, path)

    def programs_using(self, folder: str) -> Reading[tuple[RunningProgram, ...]]:
        return self._path_reading(self._machine.programs_using, folder)

    def reach(self, url: str, timeout: float) -> Reading[Reached]:
        return to_reading(self._machine.servers.get(url, NOT_RECORDED))

    def boot_time(self) -> Reading[float]:
        return to_reading(self._machine.boot_time)

    def nvml(self) -> Reading[NvidiaDriver]:
        return to_reading(self._machine.nvml)

    def git_setting(self, name: str, scope: GitScope = "effective") -> Reading[str]:
        if isinstance(self.find_program("git"), Absent):
            return Unreadable("git is not installed")
        own = self._reading(self._machine.git_settings, name)
        if scope == "effective" and isinstance(own, Absent):
            return to_reading(self._machine.git_system_settings.get(name))
        return own

    # -- writing
    def set_registry_value(self, key: str, name: str, value: RegistryValue | None) -> None:
        registry = self._machine.registry
        known_key = self._spelling(registry, key)
        values = registry.get(known_key, {})
        spelling = self._spelling(values, name)
        if key.upper().startswith("HKLM\\") and not self.identity.elevated:
            raise PermissionError(f"{key}: access denied; only an administrator can write there")
        if isinstance(entry := values.get(spelling), NotSeen):
            raise PermissionError(f"{key}\\{name}: {entry.unreadable}")
        registry[known_key] = {**values, spelling: value}

    def set_variable(self, name: str, value: str | None) -> None:
        environment = self._machine.environment
        spelling = self._spelling(environment, name)
        if value is None:
            environment.pop(spelling, None)
        else:
            environment[spelling] = value

    def broadcast_environment_change(self) -> None:
        """Nothing to do: a recorded machine has no running programs."""

    def make_directory(self, path: str) -> None:
        directories = self._machine.directories
        for folder in (*reversed(self._path(path).parents), self._path(path)):
            spelling = self._spelling(directories, str(folder))
            entry = directories.get(spelling)
            if isinstance(entry, NotSeen):
                raise PermissionError(f"{folder}: {entry.unreadable}")
            if entry is None and (spelling in directories or folder == self._path(path)):
                directories[spelling] = ()
                self._enter_in_parent(folder)

    def remove_directory(self, path: str) -> None:
        reading = self.list_directory(path)
        if not isinstance(reading, Found):
            raise FileNotFoundError(f"{path}: no such folder")
        if reading.value:
            raise OSError(f"{path}: the folder is not empty")
        self._machine.directories[self._spelling(self._machine.directories, path)] = None
        self._enter_in_parent(self._path(path), present=False)

    def write_file(self, path: str, content: bytes | None) -> None:
        files = self._machine.files
        spelling = self._spelling(files, path)
        if isinstance(entry := files.get(spelling), NotSeen):
            raise PermissionError(f"{path}: {entry.unreadable}")
        files[spelling] = None if content is None else FileContent.of(content)
        self._enter_in_parent(self._path(path), present=content is not None)

    def move_folder(self, path: str, destination: str) -> None:
        if not isinstance(self.list_directory(path), Found):
            raise FileNotFoundError(f"{path}: no such folder")
        if isinstance(self.list_directory(destination), Found):
            raise FileExistsError(f"{destination} already exists")
        directories = self._machine.directories
        directories[self._spelling(directories, destination)] = directories[self._spelling(directories, path)]
        directories[self._spelling(directories, path)] = None
        self._enter_in_parent(self._path(path), present=False)
        self._enter_in_parent(self._path(destination))

    def set_packages(self, wanted: Mapping[str, str | None]) -> None:
        """Do what pip does with an index that has every version."""
        distributions = self._machine.distributions
        for name, specifier in wanted.items():
            known = next((n for n in distributions if canonicalize_name(n) == canonicalize_name(name)), name)
            if specifier is None:
                distributions[known] = None
                continue
            versions = re.findall(r"[=>~]=\s*([^,\s]+)", specifier)
            location = self.identity.site_packages
            distributions[known] = Distribution(
                name=name, version=versions[0] if versions else "1.0", location=location
            )

    def run_installer(self, command: Sequence[str]) -> int:
        raise OSError(f"{command[0]}: a recorded machine cannot run an installer")

    def set_git_setting(self, name: str, value: str | None) -> None:
        if isinstance(reading := self.git_setting(name), Unreadable):
            raise OSError(f"git's {name}: {reading.reason}")
        self._machine.git_settings[name] = value

    def set_registry_values_elevated(
        self, changes: Sequence[tuple[str, str, RegistryValue | None]], timeout: float
    ) -> int | ElevationRefused:
        return ElevationRefused("a recorded machine cannot ask for administrator rights")

    # -- names
    def _path(self, path: str) -> PurePath:
        return self.identity.path(path)

    def _fold(self, name: str) -> str:
        return name.replace("/", "\\").rstrip("\\").casefold() if self._windows else name

    def _spelling(self, mapping: Mapping[str, V], name: str) -> str:
        """The name as the recording spells it, or as given if the recording does not have it."""
        folded = self._fold(name)
        return next((known for known in mapping if self._fold(known) == folded), name)

    def _reading(self, mapping: Mapping[str, Entry[V]], name: str) -> Reading[V]:
        return to_reading(mapping.get(self._spelling(mapping, name), NOT_RECORDED))

    def _path_reading(self, mapping: Mapping[str, Entry[V]], path: str) -> Reading[V]:
        if not self._path(path).is_absolute():
            return Unreadable(f"{path} is not an absolute path")
        return self._reading(mapping, path)

    def _enter_in_parent(self, path: PurePath, *, present: bool = True) -> None:
        """Add the name to the list of its folder, or remove it, if that list is recorded."""
        spelling = self._spelling(self._machine.directories, str(path.parent))
        names = self._machine.directories.get(spelling)
        if isinstance(names, tuple):
            others = tuple(name for name in names if self._fold(name) != self._fold(path.name))
            if present and others == names:
                self._machine.directories[spelling] = (*names, path.name)
            elif not present:
                self._machine.directories[spelling] = others
