"""A recorded machine without personal data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from doctor.host.base import Completed, Distribution, Identity, OwnFiles, Reached, RegistryValue, Volume
from doctor.host.machine import Entry, FileContent, NotSeen, RecordedMachine
from doctor.host.redaction import Redactor

T = TypeVar("T")


def redacted(machine: RecordedMachine, redactor: Redactor) -> RecordedMachine:
    """Return the machine, redacted. Paths that are keys are redacted, too, so that entries are found by redacted paths."""
    hide = _Hide(redactor)
    path = redactor.path
    return RecordedMachine(
        identity=hide.identity(machine.identity),
        environment={name: redactor.variable(name, value) for name, value in machine.environment.items()},
        registry={
            key: hide.each(values, hide.registry_value, path) for key, values in machine.registry.items()
        },
        registry_subkeys=hide.each(machine.registry_subkeys, lambda _, names: tuple(map(path, names))),
        files=hide.each(machine.files, hide.file, path),
        directories=hide.each(machine.directories, hide.names, path),
        libraries=hide.each(machine.libraries, lambda _, names: tuple(map(path, names)), path),
        programs=hide.each(machine.programs, lambda _, program: path(program)),
        runs=hide.each(machine.runs, hide.completed, redactor.text),
        distributions=hide.each(machine.distributions, hide.distribution),
        distributions_complete=machine.distributions_complete,
        own_files=hide.own_files(machine.own_files),
        volumes=hide.each(machine.volumes, hide.volume, path),
        memory=hide.one(machine.memory),
        binaries=hide.each(machine.binaries, _unchanged, path),
        programs_using=hide.each(machine.programs_using, _unchanged, path),
        servers=hide.each(machine.servers, hide.server, redactor.url),
        boot_time=hide.one(machine.boot_time),
        nvml=hide.one(machine.nvml),
        git_settings=hide.each(machine.git_settings, redactor.variable),
        git_system_settings=hide.each(machine.git_system_settings, redactor.variable),
    )


def _unchanged(name: str, entry: T) -> T:
    return entry


@dataclass(frozen=True)
class _Hide:
    """The redaction of each kind of entry; `name` is its key in the recording."""

    redactor: Redactor

    def each(
        self,
        entries: Mapping[str, Entry[T]],
        hide: Callable[[str, T], T],
        rename: Callable[[str], str] = str,
    ) -> dict[str, Entry[T]]:
        """Redact all entries: their values with `hide`, their names with `rename`, and the reasons of unreadable ones."""
        hidden: dict[str, Entry[T]] = {}
        for name, entry in entries.items():
            if isinstance(entry, NotSeen):
                hidden[rename(name)] = NotSeen(unreadable=self.redactor.text(entry.unreadable))
            else:
                hidden[rename(name)] = None if entry is None else hide(name, entry)
        return hidden

    def one(self, entry: Entry[T]) -> Entry[T]:
        """An entry without personal data, except in the reason of an unreadable one."""
        return self.each({"": entry}, _unchanged)[""]

    def identity(self, identity: Identity) -> Identity:
        paths = ("executable", "prefix", "base_prefix", "site_packages", "home")
        names = {
            "user": self.redactor.user(identity.user),
            "host_name": self.redactor.host(identity.host_name),
        }
        hidden = {name: self.redactor.path(getattr(identity, name)) for name in paths}
        scripts = identity.scripts and self.redactor.path(identity.scripts)
        return identity.model_copy(update={**names, **hidden, "scripts": scripts})

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
        return file if file.text is None else FileContent(text=self.redactor.settings(file.text))

    def names(self, folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.redactor.path(f"{folder}/{name}").rpartition("/")[2] for name in names)

    def volume(self, name: str, volume: Volume) -> Volume:
        return volume.model_copy(update={"root": self.redactor.path(volume.root)})

    def server(self, name: str, reached: Reached) -> Reached:
        return reached.model_copy(update={"issuer": self.redactor.issuer(reached.issuer)})

    def completed(self, line: str, run: Completed) -> Completed:
        text = self.redactor.text
        return run.model_copy(update={"stdout": text(run.stdout), "stderr": text(run.stderr)})

    def own_files(self, entry: Entry[OwnFiles]) -> Entry[OwnFiles]:
        def hide(name: str, own: OwnFiles) -> OwnFiles:
            hidden = {
                "installed": own.installed and self.distribution(name, own.installed),
                "elsewhere": {each: self.redactor.path(path) for each, path in own.elsewhere.items()},
            }
            return own.model_copy(update=hidden)

        return self.each({"": entry}, hide)[""]

    def distribution(self, name: str, distribution: Distribution) -> Distribution:
        url = distribution.direct_url
        hidden = {
            "location": self.redactor.path(distribution.location),
            "direct_url": url if url is None else self.redactor.url(url),
            "requires": tuple(map(self.redactor.text, distribution.requires)),
        }
        return distribution.model_copy(update=hidden)
