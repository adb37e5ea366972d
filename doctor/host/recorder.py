"""A host that remembers what it was told, and so makes a recorded machine out of any other host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from doctor.host.base import (
    Completed,
    Distribution,
    ElevationRefused,
    GitScope,
    Host,
    Identity,
    NvidiaDriver,
    RegistryValue,
)
from doctor.host.machine import NOT_RECORDED, Entry, FileContent, NotSeen, RecordedMachine, to_entry
from doctor.host.readings import Absent, Found, Reading
from doctor.host.recorded import command_line
from doctor.redaction import Redactor

V = TypeVar("V")
W = TypeVar("W")


class Recorder:
    """Passes everything on to `host` and keeps the answers; `machine()` is the recording."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._environment: dict[str, str] = {}
        self._registry: defaultdict[str, dict[str, Entry[RegistryValue]]] = defaultdict(dict)
        self._registry_subkeys: dict[str, Entry[tuple[str, ...]]] = {}
        self._files: dict[str, Entry[bytes]] = {}
        self._directories: dict[str, Entry[tuple[str, ...]]] = {}
        self._programs: dict[str, Entry[str]] = {}
        self._runs: dict[tuple[str, ...], Entry[Completed]] = {}
        self._distributions: dict[str, Entry[Distribution]] = {}
        self._nvml: Entry[NvidiaDriver] = NOT_RECORDED
        self._git_settings: dict[str, Entry[str]] = {}
        self._git_system_settings: dict[str, Entry[str]] = {}

    def machine(self) -> RecordedMachine:
        """All answers so far, redacted."""
        redactor = Redactor.of(self._host)
        hide = _Hide(redactor)
        return RecordedMachine(
            identity=hide.identity(self.identity),
            environment={n: redactor.variable(n, value) for n, value in self._environment.items()},
            registry={
                key: {n: hide.entry(v, hide.registry_value(n)) for n, v in values.items()}
                for key, values in self._registry.items()
            },
            registry_subkeys=dict(self._registry_subkeys),
            files={redactor.path(p): hide.entry(f, hide.file) for p, f in self._files.items()},
            directories={redactor.path(p): hide.entry(d, hide.names(p)) for p, d in self._directories.items()},
            programs={n: hide.entry(p, redactor.path) for n, p in self._programs.items()},
            runs={
                redactor.text(command_line(command, self.identity.executable, self._programs)): hide.entry(
                    run, hide.completed
                )
                for command, run in self._runs.items()
            },
            distributions={n: hide.entry(d, hide.distribution) for n, d in self._distributions.items()},
            nvml=hide.entry(self._nvml, lambda driver: driver),
            git_settings={n: hide.entry(v, hide.setting(n)) for n, v in self._git_settings.items()},
            git_system_settings={
                n: hide.entry(v, hide.setting(n)) for n, v in self._git_system_settings.items()
            },
        )

    @property
    def identity(self) -> Identity:
        return self._host.identity

    # -- reading
    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]:
        return _keep(self._registry[key], name, self._host.registry_value(key, name))

    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]:
        return _keep(self._registry_subkeys, key, self._host.registry_subkeys(key))

    def variable(self, name: str) -> str | None:
        value = self._host.variable(name)
        if value is not None:
            self._environment[name] = value
        return value

    def variable_names(self, prefix: str) -> tuple[str, ...]:
        names = self._host.variable_names(prefix)
        for name in names:
            self.variable(name)
        return names

    def read_file(self, path: str) -> Reading[bytes]:
        return _keep(self._files, path, self._host.read_file(path))

    def list_directory(self, path: str) -> Reading[tuple[str, ...]]:
        return _keep(self._directories, path, self._host.list_directory(path))

    def find_program(self, name: str) -> Reading[str]:
        return _keep(self._programs, name, self._host.find_program(name))

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        return _keep(self._runs, tuple(command), self._host.run(command, timeout, environment))

    def distribution(self, name: str) -> Reading[Distribution]:
        return _keep(self._distributions, name, self._host.distribution(name))

    def nvml(self) -> Reading[NvidiaDriver]:
        reading = self._host.nvml()
        self._nvml = to_entry(reading)
        return reading

    def git_setting(self, name: str, scope: GitScope = "effective") -> Reading[str]:
        own = _keep(self._git_settings, name, self._host.git_setting(name, "user"))
        if scope == "user" or not isinstance(own, Absent):
            return own
        return _keep(self._git_system_settings, name, self._host.git_setting(name, scope))

    # -- writing
    def set_registry_value(self, key: str, name: str, value: RegistryValue | None) -> None:
        self._host.set_registry_value(key, name, value)

    def set_variable(self, name: str, value: str | None) -> None:
        self._host.set_variable(name, value)

    def broadcast_environment_change(self) -> None:
        self._host.broadcast_environment_change()

    def make_directory(self, path: str) -> None:
        self._host.make_directory(path)

    def remove_directory(self, path: str) -> None:
        self._host.remove_directory(path)

    def write_file(self, path: str, content: bytes | None) -> None:
        self._host.write_file(path, content)

    def set_git_setting(self, name: str, value: str | None) -> None:
        self._host.set_git_setting(name, value)

    def run_elevated(self, command: Sequence[str], timeout: float) -> int | ElevationRefused:
        return self._host.run_elevated(command, timeout)


K = TypeVar("K")


def _keep(record: dict[K, Entry[V]], key: K, reading: Reading[V]) -> Reading[V]:
    record[key] = to_entry(reading)
    return reading


class _Hide:
    """How each kind of entry is redacted."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def entry(self, entry: Entry[V], hide: Callable[[V], W]) -> Entry[W]:
        if isinstance(entry, NotSeen):
            return NotSeen(unreadable=self._redactor.text(entry.unreadable))
        return None if entry is None else hide(entry)
