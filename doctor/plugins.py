"""Checks from other distributions, found by their entry points and validated before use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from doctor.check import GROUPS, SYSTEMS, Check, Probe, Requirement
from doctor.models import Finding

ENTRY_POINTS = "aios.doctor.checks"
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Plugin:
    """An entry point and its checks. An unusable entry point gets one check that reports why."""

    distribution: str  # name and version
    checks: tuple[Check, ...]


class UnusablePluginError(Exception):
    """An entry point does not provide usable checks. The message is a clause."""


def load_plugins(builtin: Sequence[Check]) -> tuple[Plugin, ...]:
    """Return all plugins, sorted by name. Their ids and probe names must differ from those of the `builtin` checks."""
    known = list(builtin)
    plugins = []
    for entry_point in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value)):
        plugin = _load(entry_point, known)
        known += plugin.checks
        plugins.append(plugin)
    return tuple(plugins)


def _load(entry_point: EntryPoint, known: Sequence[Check]) -> Plugin:
    distribution = (
        f"{entry_point.dist.name} {entry_point.dist.version}"
        if entry_point.dist
        else "an unknown distribution"
    )
    try:
        checks = tuple(_checks_in(entry_point.load(), known))
    except UnusablePluginError as error:
        checks = (_unusable(entry_point, distribution, str(error), known),)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything: that is a finding
        reason = f"loading {entry_point.value} raised {type(error).__name__}: {error}"
        checks = (_unusable(entry_point, distribution, reason, known),)
    return Plugin(distribution, checks)


def _checks_in(loaded: object, known: Sequence[Check]) -> Iterator[Check]:
    """Yield the checks of one entry point, validated. Raises UnusablePluginError."""
    checks = loaded if isinstance(loaded, list | tuple) else (loaded,)
    taken = {check.id for check in known}
    probes: dict[str, Probe[object]] = {probe.name: probe for check in known for probe in check.all_probes}
    for check in checks:
        if not isinstance(check, Check):
            raise UnusablePluginError(f"it provides {check!r:.60}, which is not a Check")
        _validate(check)
        if check.id in taken:
            raise UnusablePluginError(f"the id '{check.id}' is already in use")
        for probe in check.all_probes:
            if probes.setdefault(probe.name, probe) != probe:
                raise UnusablePluginError(f"the probe name '{probe.name}' is already in use")
        taken.add(check.id)
        yield check


def _validate(check: Check) -> None:
    """Test the types, too: a plugin need not have been type-checked. Raises UnusablePluginError."""
    texts = (check.id, check.looks_at, check.why, check.by_hand)
    if not all(isinstance(text, str) for text in texts) or not ID.fullmatch(check.id):
        raise UnusablePluginError(
            f"id must be lower-case-words, got {check.id!r}; looks_at, why and by_hand must be text"
        )
    if check.group not in GROUPS:
        raise UnusablePluginError(f"group must be one of {', '.join(GROUPS)}, got '{check.group}'")
    if not set(check.systems) <= set(SYSTEMS):
        raise UnusablePluginError(
            f"systems must be among {', '.join(SYSTEMS)}, got {', '.join(map(str, check.systems))}"
        )
    parts = (
        *((requirement, Requirement) for requirement in check.requires),
        *((probe, Probe) for probe in check.probes),
        *((cause, Check) for cause in check.because_of),
    )
    for part, kind in parts:
        if not isinstance(part, kind):
            raise UnusablePluginError(f"'{check.id}' has {part!r:.60} where a {kind.__name__} is required")


def _name(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else "the plugin"


def _unusable(entry_point: EntryPoint, distribution: str, reason: str, known: Sequence[Check]) -> Check:
    name = "plugin-" + (re.sub(r"[^a-z0-9]+", "-", entry_point.name.lower()).strip("-") or "unnamed")
    while any(check.id == name for check in known):
        name += "-too"
    why = f"The checks of the plugin '{entry_point.name}' of {distribution} do not run."
    by_hand = f"Install a version of {_name(entry_point)} that works with this aios, or uninstall it."

    def judge() -> Finding:
        return Finding(
            check=name,
            status="unknown",
            summary=f"The plugin '{entry_point.name}' of {distribution} cannot be used: {reason}",
            measured=reason,
            expected="an entry point that provides a Check, or a list of them",
            impact=why,
            hint=by_hand,
        )

    looks_at = f"Whether the plugin '{entry_point.name}' of {distribution} can be used."
    return Check(
        id=name, group="packages", looks_at=looks_at, why=why, by_hand=by_hand, probes=(), judge=judge
    )
