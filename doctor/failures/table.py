"""The table of known failures: symptoms in a log, cause, fix, and the check that predicts each one."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import ValidationInfo, model_validator

from doctor.failures.literal import literal
from doctor.host import Frozen

SHORTEST_LITERAL = 4  # characters; shorter texts are in every log
TESTED = "tested"  # validation context: the tests have compiled the patterns, which takes longer than reading a log
PACKAGE, UNNAMED = "{package}", "a compiled package"


class Symptom(Frozen):
    """A line that a failure leaves in a log. All patterns are matched within one line.

    Attributes:
        generic: other failures leave this line, too.
        near: counts only if this matches a line nearby.
        not_near: does not count if this matches a line nearby.
        package: counts only if this matches the package that the line, or the traceback above it, names.
        names: counts only if this matches somewhere in the log, or if the failure's check fails on this machine.
        unless: does not count if one of these matches a later line.
        windows: does not count in a log that installs torch for Linux.
        harmless: a warning that breaks nothing by itself.
    """

    pattern: str
    generic: bool = False
    near: str | None = None
    not_near: str | None = None
    package: str | None = None
    names: str | None = None
    unless: tuple[str, ...] = ()
    windows: bool = False
    harmless: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        return {"pattern": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _can_be_looked_for(self, info: ValidationInfo) -> Symptom:
        if info.context == TESTED:
            return self
        around = [text for text in (self.near, self.not_near, self.package, self.names) if text]
        for expression in (self.pattern, *around, *self.unless):
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is not a regular expression: {error}") from error
        for expression in (self.pattern, *([self.names] if self.names else []), *self.unless):
            if len(literal(expression)) < SHORTEST_LITERAL:
                raise ValueError(
                    f"{expression!r} must contain a fixed text of at least {SHORTEST_LITERAL} characters"
                )
        return self


class Failure(Frozen):
    """A known failure. Without symptoms, it leaves no trace in a log.

    In its texts, `{package}` stands for the package that the log names.

    Attributes:
        check: the check that predicts it.
        because_of: failures that may cause it, the likeliest first.
        last_resort: not named if another failure is certain.
    """

    id: str
    title: str
    cause: str
    fix: str
    symptoms: tuple[Symptom, ...] = ()
    check: str | None = None
    because_of: tuple[str, ...] = ()
    last_resort: bool = False
    link: str | None = None

    @property
    def names_package(self) -> bool:
        return PACKAGE in self.title

    def text(self, text: str, package: str | None) -> str:
        """`text`, one of this row, about `package`."""
        if PACKAGE not in text:
            return text
        filled = text.replace(PACKAGE, package or UNNAMED)
        return filled if package else filled[0].upper() + filled[1:]


class FailureTable(Frozen):
    """All known failures.

    Attributes:
        groups: the topic of the failures whose ids start with a letter.
    """

    schema_version: Literal[1] = 1
    groups: dict[str, str]
    failures: tuple[Failure, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> FailureTable:
        ids = [failure.id for failure in self.failures]
        if ids != sorted(set(ids)):
            raise ValueError("the ids are not unique and sorted")
        for failure in self.failures:
            if failure.id[0] not in self.groups:
                raise ValueError(f"{failure.id}: no group starts with this letter")
            if unknown := set(failure.because_of) - set(ids):
                raise ValueError(
                    f"{failure.id}: unknown failures in because_of: {', '.join(sorted(unknown))}"
                )
            if not failure.symptoms and failure.check is None:
                raise ValueError(f"{failure.id}: has neither symptoms nor a check")
        for failure in self.failures:
            if failure.id in self.causes(failure):
                raise ValueError(f"{failure.id}: is its own cause")
        return self

    def __hash__(self) -> int:
        return id(self)

    def causes(self, failure: Failure) -> tuple[str, ...]:
        """The ids of all direct and indirect causes of `failure`, the nearest first."""
        by_id = {row.id: row for row in self.failures}
        found = list(failure.because_of)
        for name in found:  # grows while it is walked
            found += [cause for cause in by_id[name].because_of if cause not in found]
        return tuple(found)


@cache
def failures() -> FailureTable:
    """The table of the doctor."""
    text = files("doctor.failures").joinpath("failures.json").read_text(encoding="utf-8")
    return FailureTable.model_validate(json.loads(text), context=TESTED)
