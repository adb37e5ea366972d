"""The table of known failures: what each looks like in a log, why it happens, what to do, which check sees it beforehand."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import model_validator

from doctor.failures.literal import literal
from doctor.host import Frozen

SHORTEST_LITERAL = 4  # characters; fewer would be found everywhere


class Symptom(Frozen):
    """One line that a failure leaves in a log. All expressions are of one line's text."""

    pattern: str
    generic: bool = False  # other failures leave this line, too
    near: str | None = None  # counts only if this stands some lines before it or after
    unless: tuple[str, ...] = ()  # does not count if one of these comes later in the log
    windows: bool = False  # says nothing in a log that installs torch on Linux
    harmless: bool = False  # nothing fails by what this line alone says

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        return {"pattern": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _can_be_looked_for(self) -> Symptom:
        for expression in (self.pattern, self.near or "", *self.unless):
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression: {error}") from error
        for expression in (self.pattern, *self.unless):
            if len(literal(expression)) < SHORTEST_LITERAL:
                raise ValueError(f"{expression!r} has no {SHORTEST_LITERAL} characters that are always there")
        return self


class Failure(Frozen):
    """One known failure. A row without symptoms leaves none in a log: only a check sees it."""

    id: str
    title: str
    cause: str
    fix: str
    symptoms: tuple[Symptom, ...] = ()
    check: str | None = None  # sees it before it happens
    because_of: tuple[str, ...] = ()  # failures of which it may be a consequence, the likeliest first
    link: str | None = None


class FailureTable(Frozen):
    """All known failures, by group: paths, Python, torch and the GPU, binary packages, building, Triton."""

    schema_version: Literal[1] = 1
    groups: dict[str, str]  # the first letter of an id: what the group is about
    failures: tuple[Failure, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> FailureTable:
        ids = [failure.id for failure in self.failures]
        if ids != sorted(set(ids)):
            raise ValueError("the ids are not each there once, in their order")
        for failure in self.failures:
            if failure.id[0] not in self.groups:
                raise ValueError(f"{failure.id}: there is no such group")
            if unknown := set(failure.because_of) - set(ids):
                raise ValueError(f"{failure.id}: no failure is named {', '.join(sorted(unknown))}")
            if not failure.symptoms and failure.check is None:
                raise ValueError(f"{failure.id}: neither a symptom nor a check sees it")
        for failure in self.failures:
            if failure.id in self.causes(failure):
                raise ValueError(f"{failure.id}: it is a cause of itself")
        return self

    def causes(self, failure: Failure) -> tuple[str, ...]:
        """The ids of all that may have caused `failure`, through others too, the nearest first."""
        by_id = {row.id: row for row in self.failures}
        found = list(failure.because_of)
        for name in found:  # grows while it is walked
            found += [cause for cause in by_id[name].because_of if cause not in found]
        return tuple(found)


@cache
def failures() -> FailureTable:
    """The table that comes with the doctor."""
    text = files("doctor.failures").joinpath("failures.json").read_text(encoding="utf-8")
    return FailureTable.model_validate(json.loads(text))
