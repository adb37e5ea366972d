"""Records everything that is read through it, as a recorded machine."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from doctor.host.base import (
    Binary,
    Completed,
    Distribution,
    GitScope,
    Identity,
    Memory,
    NvidiaDriver,
    OwnFiles,
    Reached,
    Reader,
    RegistryValue,
    RunningProgram,
    Volume,
)
from doctor.host.machine import Entry, FileContent, RecordedMachine, to_entry
from doctor.host.readings import Absent, Found, Reading
from doctor.host.recorded import command_line
from doctor.host.redacted_machine import redacted
from doctor.host.redaction import Redactor

T = TypeVar("T")


class Recorder:
    """A Reader that reads another one and records the answers; `machine()` returns the recording.

    It is thread-safe, since probes run in parallel. A probe that has timed out may read while the recording is made.
    """

    def __init__(self, host: Reader) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._machine = RecordedMachine(identity=host.identity)

    def machine(self) -> RecordedMachine:
        """Return all answers so far, redacted."""
        with self._lock:
            machine = self._machine.model_copy(deep=True)
        return redacted(machine, Redactor.of(self._host))

    def _keep(self, record: dict[str, Entry[T]], name: str, reading: Reading[T]) -> Reading[T]:
        entry: Entry[T] = to_entry(reading)
        with self._lock:
            record[name] = entry
        return reading

    def _update(self, **sections: Any) -> None:
        with self._lock:
            self._machine = self._machine.model_copy(update=sections)

    @property
    def identity(self) -> Identity:
        return self._host.identity

    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]:
        return self._keep(
            self._machine.registry.setdefault(key, {}), name, self._host.registry_value(key, name)
        )

    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]:
        return self._keep(self._machine.registry_subkeys, key, self._host.registry_subkeys(key))

    def variable(self, name: str) -> str | None:
        value = self._host.variable(name)
        if value is not None:
            with self._lock:
                self._machine.environment[name] = value
        return value

    def variable_names(self, prefix: str) -> tuple[str, ...]:
        names = self._host.variable_names(prefix)
        for name in names:
            self.variable(name)
        return names

    def read_file(self, path: str) -> Reading[bytes]:
        reading = self._host.read_file(path)
        content = Found(FileContent.of(reading.value)) if isinstance(reading, Found) else reading
        self._keep(self._machine.files, path, content)
        return reading

    def list_directory(self, path: str) -> Reading[tuple[str, ...]]:
        return self._keep(self._machine.directories, path, self._host.list_directory(path))

    def libraries_below(self, folder: str, without: Collection[str] = ()) -> Reading[tuple[str, ...]]:
        return self._keep(self._machine.libraries, folder, self._host.libraries_below(folder, without))

    def find_program(self, name: str) -> Reading[str]:
        return self._keep(self._machine.programs, name, self._host.find_program(name))

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        with self._lock:
            line = command_line(command, self.identity.executable, self._machine.programs)
        return self._keep(self._machine.runs, line, self._host.run(command, timeout, environment))

    def distribution(self, name: str) -> Reading[Distribution]:
        return self._keep(self._machine.distributions, name, self._host.distribution(name))

    def nvml(self) -> Reading[NvidiaDriver]:
        reading = self._host.nvml()
        self._update(nvml=to_entry(reading))
        return reading

    def git_setting(self, name: str, scope: GitScope = "effective") -> Reading[str]:
        own = self._keep(self._machine.git_settings, name, self._host.git_setting(name, "user"))
        if scope == "user" or not isinstance(own, Absent):
            return own
        return self._keep(self._machine.git_system_settings, name, self._host.git_setting(name, scope))

    def distributions(self) -> Reading[tuple[Distribution, ...]]:
        reading = self._host.distributions()
        if isinstance(reading, Found):
            self._keep_all(reading.value)
        return reading

    def _keep_all(self, distributions: tuple[Distribution, ...]) -> None:
        with self._lock:
            for distribution in distributions:
                self._machine.distributions.setdefault(distribution.name, distribution)
        self._update(distributions_complete=True)

    def own_files(self) -> Reading[OwnFiles]:
        reading = self._host.own_files()
        self._update(own_files=to_entry(reading))
        return reading

    def volume(self, path: str) -> Reading[Volume]:
        return self._keep(self._machine.volumes, path, self._host.volume(path))

    def memory(self) -> Reading[Memory]:
        reading = self._host.memory()
        self._update(memory=to_entry(reading))
        return reading

    def binary(self, path: str) -> Reading[Binary]:
        return self._keep(self._machine.binaries, path, self._host.binary(path))

    def programs_using(self, folder: str) -> Reading[tuple[RunningProgram, ...]]:
        return self._keep(self._machine.programs_using, folder, self._host.programs_using(folder))

    def reach(self, url: str, timeout: float) -> Reading[Reached]:
        return self._keep(self._machine.servers, url, self._host.reach(url, timeout))

    def boot_time(self) -> Reading[float]:
        reading = self._host.boot_time()
        self._update(boot_time=to_entry(reading))
        return reading
