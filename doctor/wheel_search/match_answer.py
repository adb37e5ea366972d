"""The result of `aios wheels match`. Printed by `--json`; has a schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doctor.host import Frozen
from wheels.choice import Item
from wheels.resolve import Resolution


class MatchedWheel(Frozen):
    """The wheel; or a requirement on an index, in which case `filename`, `url`, `sha256` and `size` are null."""

    filename: str | None
    url: str | None = Field(description="null: pip finds it on `index`, or on its configured index")
    sha256: str | None = Field(description="null: not published when the catalogue was made")
    size: int | None = Field(description="bytes")
    publisher: str
    version: str
    torch: str | None = Field(description="the torch that it was built for; null: not stated")
    cuda: str | None
    python: str
    platform: str
    requirement: str = Field(description="the pip requirement to use if there is no url")
    index: str | None = None


class RejectedWheel(Frozen):
    filename: str
    reason: str


class MatchAnswer(Frozen):
    """`aios wheels match --json` prints exactly this. `rejected`: if none fits, the nearest misses first."""

    schema_version: Literal[1] = 1
    package: str
    match: MatchedWheel | None
    reasons: tuple[str, ...] = Field(description="why this wheel or why none; then what was not considered")
    rejected: tuple[RejectedWheel, ...]
    kept: bool = Field(default=False, description="the installed build fits: nothing to install")
    fallback: Literal["xformers", "sdpa"] | None = Field(
        description="the next best attention if no flash-attn fits"
    )


def make_match_answer(
    package: str, resolution: Resolution, python: str, platform: str, unknown: tuple[str, ...]
) -> MatchAnswer:
    """Make the answer for `package` from a resolution of it; for flash-attn, of it and xformers."""
    choice = next(v for v in resolution.choices if v.package in (package, f"{package}-windows"))
    rejected = choice.match.rejected if choice.match else ()
    return MatchAnswer(
        package=package,
        match=_matched(choice.item, resolution, python, platform) if choice.item else None,
        reasons=(*choice.reasons, *unknown),
        kept=choice.kept,
        rejected=tuple(RejectedWheel(filename=r.wheel.filename, reason=r.reason) for r in rejected),
        fallback="xformers" if resolution.fallback == "xformers" else "sdpa" if resolution.fallback else None,
    )


def _matched(item: Item, resolution: Resolution, python: str, platform: str) -> MatchedWheel:
    wheel = item.wheel
    build = resolution.torch
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
