"""A recorded machine without what is nobody else's business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from doctor.host.base import Completed, Distribution, Identity, Reached, RegistryValue, Volume
from doctor.host.machine import Entry, FileContent, NotSeen, RecordedMachine
from doctor.redaction import Redactor

T = TypeVar("T")


def redacted(machine: RecordedMachine, redactor: Redactor) -> RecordedMachine:
    """The same machine, redacted: what is looked up by a path is found by the redacted path."""
    hide = _Hide(redactor)
    path, text = redactor.path, redactor.text
    return RecordedMachine(
        identity=hide.identity(machine.identity),
        environment={name: redactor.variable(name, value) for name, value in machine.environment.items()},
        registry={key: hide.each(values, hide.registry_value) for key, values in machine.registry.items()},
        registry_subkeys=machine.registry_subkeys,
        files={path(name): file for name, file in hide.each(machine.files, hide.file).items()},
        directories={path(name): names for name, names in hide.each(machine.directories, hide.names).items()},
        programs=hide.each(machine.programs, lambda _, program: path(program)),
        runs={text(line): run for line, run in hide.each(machine.runs, hide.completed).items()},
        distributions=hide.each(machine.distributions, hide.distribution),
        distributions_complete=machine.distributions_complete,
        volumes={path(name): entry for name, entry in hide.each(machine.volumes, hide.volume).items()},
        memory=machine.memory,
        binaries={path(name): entry for name, entry in hide.each(machine.binaries, lambda _, b: b).items()},
        programs_using={
            path(name): entry for name, entry in hide.each(machine.programs_using, lambda _, p: p).items()
        },
        servers={
            redactor.url(name): entry for name, entry in hide.each(machine.servers, hide.server).items()
        },
        boot_time=machine.boot_time,
        nvml=hide.each({"nvml": machine.nvml}, lambda _, driver: driver)["nvml"],
        git_settings=hide.each(machine.git_settings, redactor.variable),
        git_system_settings=hide.each(machine.git_system_settings, redactor.variable),
    )


@dataclass(frozen=True)
class _Hide:
    """How each kind of entry is redacted; `name` is what the entry is recorded under."""

    redactor: Redactor

    def each(self, entries: Mapping[str, Entry[T]], hide: Callable[[str, T], T]) -> dict[str, Entry[T]]:
        hidden: dict[str, Entry[T]] = {}
        for name, entry in entries.items():
            if isinstance(entry, NotSeen):
                hidden[name] = NotSeen(unreadable=self.redactor.text(entry.unreadable))
            else:
                hidden[name] = None if entry is None else hide(name, entry)
        return hidden

    def identity(self, identity: Identity) -> Identity:
        paths = ("executable", "prefix", "base_prefix", "site_packages", "home")
        names = {
            "user": self.redactor.user(identity.user),
            "host_name": self.redactor.host(identity.host_name),
        }
        return identity.model_copy(
            update={**names, **{name: self.redactor.path(getattr(identity, name)) for name in paths}}
        )

    def registry_value(self, name: str, value: RegistryValue) -> RegistryValue:
        match value.value:
            case str() as text:
                return value.model_copy(update={"value": self.redactor.variable(name, text)})
            case tuple() as texts:
                hidden = tuple(self.redactor.variable(name, text) for text in texts)
                return value.model_copy(update={"value": hidden})
            case _:
                return value

    def file(self, name: str, file: FileContent) -> FileContent:
        return file if file.text is None else FileContent(text=self.redactor.text(file.text))

    def names(self, folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.redactor.path(f"{folder}/{name}").rpartition("/")[2] for name in names)

    def volume(self, name: str, volume: Volume) -> Volume:
        return volume.model_copy(update={"root": self.redactor.path(volume.root)})

    def server(self, name: str, reached: Reached) -> Reached:
        return reached.model_copy(update={"issuer": self.redactor.text(reached.issuer)})

    def completed(self, line: str, run: Completed) -> Completed:
        text = self.redactor.text
        return run.model_copy(update={"stdout": text(run.stdout), "stderr": text(run.stderr)})

    def distribution(self, name: str, distribution: Distribution) -> Distribution:
        url = distribution.direct_url
        hidden = {
            "location": self.redactor.path(distribution.location),
            "direct_url": url if url is None else self.redactor.url(url),
        }
        return distribution.model_copy(update=hidden)
