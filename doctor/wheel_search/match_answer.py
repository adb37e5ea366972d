"""What `aios wheels match` says. `--json` prints it; the schema is made from it."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from doctor.host import Frozen
from wheels.choice import Item
from wheels.resolve import InstallPlan


class MatchedWheel(Frozen):
    """The wheel, or the best that an index has for a requirement: then `filename` and the rest of the file are null."""

    filename: str | None
    url: str | None = Field(
        description="null: pip finds it on `index`, or on the index that it is set up with"
    )
    sha256: str | None = Field(description="null: its publisher gave none when the catalogue was made")
    size: int | None = Field(description="bytes")
    publisher: str
    version: str
    torch: str | None = Field(description="the torch that it was built for; null: it does not say")
    cuda: str | None
    python: str
    platform: str
    requirement: str = Field(description="what to ask pip for where there is no url")
    index: str | None = None


class RejectedWheel(Frozen):
    filename: str
    reason: str


class MatchAnswer(Frozen):
    """`aios wheels match --json` prints exactly this. `rejected`: where none fits, the nearest misses first."""

    schema_version: Literal[1] = 1
    package: str
    match: MatchedWheel | None
    reasons: tuple[str, ...] = Field(
        description="why this one, or why none; then what could not be considered"
    )
    rejected: tuple[RejectedWheel, ...]
    kept: bool = Field(default=False, description="what is there serves: nothing is to be installed")
    fallback: Literal["xformers", "sdpa"] | None = Field(
        description="the next best attention where no flash-attn fits"
    )


def answer(
    package: str, plan: InstallPlan, python: str, platform: str, unknown: tuple[str, ...]
) -> MatchAnswer:
    """From a plan for `package`, or for flash-attn and what may stand in for it."""
    verdict = next(v for v in plan.verdicts if v.package in (package, f"{package}-windows"))
    rejected = verdict.match.rejected if verdict.match else ()
    return MatchAnswer(
        package=package,
        match=_matched(verdict.item, plan, python, platform) if verdict.item else None,
        reasons=(*verdict.reasons, *unknown),
        kept=verdict.kept,
        rejected=tuple(RejectedWheel(filename=r.wheel.filename, reason=r.reason) for r in rejected),
        fallback="xformers" if plan.fallback == "xformers" else "sdpa" if plan.fallback else None,
    )


def _matched(item: Item, plan: InstallPlan, python: str, platform: str) -> MatchedWheel:
    wheel = item.wheel
    build = plan.torch
    return MatchedWheel(
        filename=wheel.filename if wheel else None,
        url=wheel.url if wheel else None,
        sha256=wheel.sha256 if wheel else None,
        size=wheel.size if wheel else None,
        publisher=wheel.publisher.id if wheel else item.index or "package index",
        version=item.version,
        torch=wheel.name.torch if wheel else build.minor if build else None,
        cuda=(wheel.cuda or None) if wheel else build.cuda_version if build else None,
        python=".".join(wheel.name.pythons) if wheel else python,
        platform=".".join(wheel.name.platforms) if wheel else platform,
        requirement=item.requirement,
        index=item.index,
    )


def to_json(answer: MatchAnswer) -> str:
    """ASCII, so that a pipe of any encoding can carry it."""
    return json.dumps(answer.model_dump(mode="json"), indent=2) + "\n"
