"""A recorded machine: what a recorder saw, or what a test pretends, as one JSON file.

Everywhere in it ``null`` means "looked, and it is not there" and ``{"unreadable": "reason"}`` means "could not look".
What is not in the file at all was never looked at.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from doctor.host.base import (
    Binary,
    Completed,
    Distribution,
    Frozen,
    Identity,
    Memory,
    NvidiaDriver,
    OwnFiles,
    Reached,
    RegistryValue,
    RunningProgram,
    Volume,
)
from doctor.host.readings import Absent, Found, Reading, Unreadable

T = TypeVar("T")


class NotSeen(Frozen):
    """The recorder could not look."""

    unreadable: str


class FileContent(Frozen):
    """A file's bytes: as text where they are UTF-8, else in base64. Exactly one of the two."""

    text: str | None = None
    base64: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_form_for_each_content(cls, data: Any) -> Any:
        """Text written in base64 becomes text, so that equal files are equal recordings."""
        if isinstance(data, Mapping) and isinstance(encoded := data.get("base64"), str):
            try:
                return {
                    **data,
                    "base64": None,
                    "text": base64.b64decode(encoded, validate=True).decode("utf-8"),
                }
            except UnicodeDecodeError:
                return data
        return data

    @model_validator(mode="after")
    def _exactly_one(self) -> FileContent:
        if (self.text is None) == (self.base64 is None):
            raise ValueError('a file is {"text": …} or {"base64": …}')
        return self

    @classmethod
    def of(cls, content: bytes) -> FileContent:
        return cls(base64=base64.b64encode(content).decode("ascii"))

    def to_bytes(self) -> bytes:
        return self.text.encode("utf-8") if self.text is not None else base64.b64decode(self.base64 or "")


def _without_null(variables: Any) -> Any:
    """An absent variable is simply not there; null is allowed for the sake of whoever patches a machine."""
    if not isinstance(variables, Mapping):
        return variables
    return {name: value for name, value in variables.items() if value is not None}


Entry: TypeAlias = T | NotSeen | None
NOT_RECORDED = NotSeen(unreadable="not in the recording")


class RecordedMachine(Frozen):
    """The file. `runs` is keyed by the command line, its words joined by spaces; see `RecordedHost.run`."""

    schema_version: Literal[1] = 1
    identity: Identity
    environment: Annotated[dict[str, str], BeforeValidator(_without_null)] = Field(default_factory=dict)
    registry: dict[str, dict[str, Entry[RegistryValue]]] = Field(default_factory=dict)  # key → name → value
    registry_subkeys: dict[str, Entry[tuple[str, ...]]] = Field(default_factory=dict)
    files: dict[str, Entry[FileContent]] = Field(default_factory=dict)
    directories: dict[str, Entry[tuple[str, ...]]] = Field(default_factory=dict)  # path → names in it
    programs: dict[str, Entry[str]] = Field(default_factory=dict)  # name → absolute path
    runs: dict[str, Entry[Completed]] = Field(default_factory=dict)
    distributions: dict[str, Entry[Distribution]] = Field(default_factory=dict)
    distributions_complete: bool = Field(
        default=False, description="are these all distributions? Then one that is not here is not installed"
    )
    own_files: Entry[OwnFiles] = NOT_RECORDED
    volumes: dict[str, Entry[Volume]] = Field(default_factory=dict)  # by a path on it
    memory: Entry[Memory] = NOT_RECORDED
    binaries: dict[str, Entry[Binary]] = Field(default_factory=dict)  # by path
    programs_using: dict[str, Entry[tuple[RunningProgram, ...]]] = Field(default_factory=dict)  # by folder
    servers: dict[str, Entry[Reached]] = Field(default_factory=dict)  # by address
    boot_time: Entry[float] = NOT_RECORDED  # seconds since 1970
    nvml: Entry[NvidiaDriver] = NOT_RECORDED
    git_settings: dict[str, Entry[str]] = Field(default_factory=dict)  # this user's
    git_system_settings: dict[str, Entry[str]] = Field(
        default_factory=dict, description="every user's; a name that is not here is not set"
    )

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


def to_reading(entry: Entry[T]) -> Reading[T]:
    if entry is None:
        return Absent()
    if isinstance(entry, NotSeen):
        return Unreadable(entry.unreadable)
    return Found(entry)


def to_entry(reading: Reading[T]) -> Entry[T]:
    if isinstance(reading, Found):
        return reading.value
    return None if isinstance(reading, Absent) else NotSeen(unreadable=reading.reason)


class MachineFileError(Exception):
    """A machine file that cannot be used; the message says what was looked for, what was found and what to do."""


def load_machine(path: Path) -> RecordedMachine:
    """Read a recorded machine. Raises MachineFileError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineFileError(
            f"Looked for a recorded machine in {path}, but the file cannot be read: {error.strerror or error}. "
            "Check the path; `aios doctor record FILE` writes such a file."
        ) from error
    try:
        return RecordedMachine.model_validate_json(content)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5]]
        raise MachineFileError(
            f"{path} is not a machine that this version understands: {'; '.join(faults)}. "
            "Record it again with `aios doctor record FILE`, or correct these places."
        ) from error
