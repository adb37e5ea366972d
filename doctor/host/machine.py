"""A recorded machine as one JSON file, written by the recorder or by hand for a test.

Everywhere in it, `null` means that something does not exist, and `{"unreadable": "reason"}` that it could not be read.
What is missing from the file was not recorded.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from doctor.bounded import read_bytes
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
    """Something that could not be read."""

    unreadable: str


class FileContent(Frozen):
    """The content of a file: as text if it is UTF-8, else in base64. Exactly one of the two."""

    text: str | None = None
    base64: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_form_for_each_content(cls, data: Any) -> Any:
        """Convert base64 of UTF-8 to text, so that equal files have equal recordings."""
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
    """Drop variables that are null, which is how a patch removes a variable."""
    if not isinstance(variables, Mapping):
        return variables
    return {name: value for name, value in variables.items() if value is not None}


Entry: TypeAlias = T | NotSeen | None
NOT_RECORDED = NotSeen(unreadable="not in the recording")


class RecordedMachine(Frozen):
    """The content of the file. The keys of `runs` are command lines; see `command_line` in doctor/host/recorded.py."""

    schema_version: Literal[1] = 1
    identity: Identity
    environment: Annotated[dict[str, str], BeforeValidator(_without_null)] = Field(default_factory=dict)
    registry: dict[str, dict[str, Entry[RegistryValue]]] = Field(default_factory=dict)  # key → name → value
    registry_subkeys: dict[str, Entry[tuple[str, ...]]] = Field(default_factory=dict)
    files: dict[str, Entry[FileContent]] = Field(default_factory=dict)
    directories: dict[str, Entry[tuple[str, ...]]] = Field(default_factory=dict)  # path → names in it
    libraries: dict[str, Entry[tuple[str, ...]]] = Field(
        default_factory=dict, description="folder → the compiled libraries below it, as relative paths"
    )
    programs: dict[str, Entry[str]] = Field(default_factory=dict)  # name → absolute path
    runs: dict[str, Entry[Completed]] = Field(default_factory=dict)
    distributions: dict[str, Entry[Distribution]] = Field(default_factory=dict)
    distributions_complete: bool = Field(
        default=False, description="whether these are all distributions, so that any other is not installed"
    )
    own_files: Entry[OwnFiles] = NOT_RECORDED
    volumes: dict[str, Entry[Volume]] = Field(default_factory=dict)  # path on the volume -> volume
    memory: Entry[Memory] = NOT_RECORDED
    binaries: dict[str, Entry[Binary]] = Field(default_factory=dict)  # path -> headers
    programs_using: dict[str, Entry[tuple[RunningProgram, ...]]] = Field(
        default_factory=dict
    )  # folder -> programs
    servers: dict[str, Entry[Reached]] = Field(default_factory=dict)  # URL -> server
    boot_time: Entry[float] = NOT_RECORDED  # seconds since 1970
    nvml: Entry[NvidiaDriver] = NOT_RECORDED
    git_settings: dict[str, Entry[str]] = Field(default_factory=dict)  # this user's
    git_system_settings: dict[str, Entry[str]] = Field(
        default_factory=dict, description="of all users; a name that is missing is not set"
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
    """A machine file cannot be used; the message says why and what to do."""


def load_machine(path: Path) -> RecordedMachine:
    """Read a recorded machine. Raises MachineFileError."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise MachineFileError(
            f"Cannot read the recorded machine {path}: {error.strerror or error}. "
            "Check the path; `aios doctor record FILE` writes such a file."
        ) from error
    try:
        return RecordedMachine.model_validate_json(content)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5]]
        raise MachineFileError(
            f"{path} is not a recorded machine of this version: {'; '.join(faults)}. "
            "Record it again with `aios doctor record FILE`, or correct these entries."
        ) from error
