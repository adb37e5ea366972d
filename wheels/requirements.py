"""Which requirements of installed distributions (PEP 508, Requires-Dist) the installed ones do not meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from wheels.compatibility import parse_version
from wheels.markers import marker_holds


@dataclass(frozen=True)
class Unmet:
    """`package` asks for `requirement` ("numpy" "<2"); `installed` is the version that is there, None: there is none."""

    package: str
    requirement: str
    specifier: str
    installed: str | None

    def __str__(self) -> str:
        there = f"{self.requirement} {self.installed}" if self.installed else f"no {self.requirement}"
        return f"{self.package} asks for {self.requirement}{self.specifier}; there is {there}"


def unmet_requirements(
    package: str, requires: Iterable[str], versions: Mapping[str, str], environment: Mapping[str, str]
) -> list[Unmet]:
    """What a distribution asks for without any extra, and does not get.

    Args:
        package: its name.
        requires: its requirements, as in Requires-Dist.
        versions: of the installed distributions, by normalised name.
        environment: the values of environment markers; what depends on one that is not here is left out.
    """
    found = []
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker and marker_holds(str(requirement.marker), environment) is not True:
            continue
        name = str(canonicalize_name(requirement.name))
        installed = versions.get(name)
        version = parse_version(installed) if installed is not None else None
        if installed is not None and (
            version is None or requirement.specifier.contains(version, prereleases=True)
        ):
            continue
        found.append(Unmet(package, name, str(requirement.specifier), installed))
    return found
