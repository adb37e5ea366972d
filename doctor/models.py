"""Findings, their fixes, and the report. The JSON Schemas are generated from these models."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field, field_validator
from typing_extensions import Self, TypedDict, Unpack

from doctor.actions import Action
from doctor.host import Frozen
from doctor.quoting import each_command

Status = Literal["ok", "info", "warning", "error", "skipped", "unknown"]
Applicability = Literal["safe", "unsafe", "manual"]
Restart = Literal["none", "shell", "session", "system"]
JsonValue = str | int | float | bool | None | list[str]


class Evidence(Frozen):
    """One fact behind a finding: where it was read, its name there, and its value (null: absent)."""

    source: Literal[
        "registry", "environment", "file", "program", "nvml", "metadata", "process", "identity", "system"
    ]
    name: str
    value: JsonValue


class FixChanges(TypedDict, total=False):
    """The fields that `Fix.but` can change."""

    id: str
    applicability: Applicability
    elevated: bool
    restart: Restart
    reversible: bool
    commands: tuple[str, ...]
    by_hand: tuple[str, ...]
    actions: tuple[Action, ...]


class Fix(Frozen):
    """How to fix a finding: the doctor's actions (none: fix it by hand) and the commands that do the same."""

    id: str
    applicability: Applicability
    elevated: bool = False
    restart: Restart = "none"
    reversible: bool = True
    commands: tuple[str, ...]
    by_hand: tuple[str, ...] = ()  # without aios, if `commands` call it
    actions: tuple[Action, ...] = ()

    @field_validator("commands", "by_hand")
    @classmethod
    def _each_shell(cls, commands: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each_command(commands))

    def but(self, **changes: Unpack[FixChanges]) -> Self:
        """Return a copy with some fields changed."""
        return type(self).model_validate({**dict(self), **changes})


class FindingChanges(TypedDict, total=False):
    """The fields that `Finding.but` can change."""

    status: Status
    summary: str
    measured: str
    expected: str
    impact: str
    hint: str
    links: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    fix: Fix | None
    because_of: str | None


class Finding(Frozen):
    """The result of one check. `unknown`: the doctor could not read what the check needs.

    `because_of` names the check whose failure explains this one. Such a finding is `skipped`.
    """

    check: str
    status: Status
    summary: str
    measured: str = ""
    expected: str = ""
    impact: str = ""
    hint: str = ""
    links: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    fix: Fix | None = None
    because_of: str | None = None

    def but(self, **changes: Unpack[FindingChanges]) -> Self:
        """Return a copy with some fields changed."""
        return type(self).model_validate({**dict(self), **changes})

    @property
    def is_automatic(self) -> bool:
        """Whether the doctor can fix it."""
        return bool(self.fix and self.fix.actions and self.fix.applicability != "manual")


class Machine(Frozen):
    """The machine that was diagnosed."""

    os: str
    os_build: str
    architecture: str
    elevated: bool
    python: str
    recorded: bool
    environment: str | None = Field(
        default=None, description="the interpreter that was diagnosed, if it is not the one that runs aios"
    )
    gpus: tuple[str, ...] | None = Field(
        default=None,
        description="name and memory of each NVIDIA GPU, as the driver reports them; null: not known",
    )
    driver: str | None = Field(default=None, description="version of the NVIDIA driver")
    driver_cuda: str | None = Field(
        default=None, description="the newest CUDA version that the driver supports"
    )
    torch: str | None = Field(
        default=None, description="version and build of torch; empty: not installed; null: not known"
    )


class Summary(Frozen):
    """The number of findings with each status."""

    ok: int = 0
    info: int = 0
    warning: int = 0
    error: int = 0
    skipped: int = 0
    unknown: int = 0


class Report(Frozen):
    """One run of the doctor: `aios doctor --json` prints exactly this."""

    schema_version: Literal[1] = 1
    aios_version: str
    started_at: str = Field(description="RFC 3339, UTC")
    duration_seconds: float
    machine: Machine
    findings: tuple[Finding, ...]
    summary: Summary
    capability_file: str | None
    pending_restart: bool = False
    reminders: tuple[str, ...] = Field(
        default=(), description="from earlier runs: a restart that is due, an interrupted fix"
    )


def to_json(answer: Frozen) -> str:
    """Return the JSON that a command prints with --json: ASCII, so that any stream's encoding can carry it."""
    return json.dumps(answer.model_dump(mode="json"), indent=2) + "\n"
