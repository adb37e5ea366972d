"""Find unmet requirements (PEP 508, Requires-Dist) among installed distributions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from wheels.compatibility import parse_version
from wheels.markers import marker_holds


@dataclass(frozen=True)
class Unmet:
    """`package` requires `requirement` with `specifier` ("numpy", "<2"). `installed`: its version; None: not installed."""

    package: str
    requirement: str
    specifier: str
    installed: str | None

    def __str__(self) -> str:
        there = (
            f"{self.requirement} {self.installed} is installed" if self.installed else "it is not installed"
        )
        return f"{self.package} requires {self.requirement}{self.specifier}; {there}"


def unmet_requirements(
    package: str, requires: Iterable[str], versions: Mapping[str, str], environment: Mapping[str, str]
) -> list[Unmet]:
    """Return the unmet requirements of a distribution, extras excluded.

    Args:
        package: the name of the distribution.
        requires: its requirements, as in Requires-Dist.
        versions: versions of the installed distributions, by normalized name.
        environment: values of environment markers; requirements that depend on a missing one are skipped.
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
