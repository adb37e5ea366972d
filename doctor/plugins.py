"""Checks that other distributions bring along: found by their entry points, and looked over before they are let in."""

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
    """An entry point and its checks. In place of what cannot be used there is one check that says so."""

    distribution: str  # name and version
    checks: tuple[Check, ...]


class UnusablePluginError(Exception):
    """What an entry point gives cannot be taken for checks; the message is a clause that says why."""


def load_plugins(builtin: Sequence[Check]) -> tuple[Plugin, ...]:
    """All plugins, in the order of their names. `builtin` are the checks whose ids and probes are taken."""
    known = list(builtin)
    plugins = []
    for entry_point in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value)):
        plugin = _load(entry_point, known)
        known += plugin.checks
        plugins.append(plugin)
    return tuple(plugins)


def _load(entry_point: EntryPoint, known: Sequence[Check]) -> Plugin:
    distribution = f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else "nobody"
    try:
        checks = tuple(_checks_in(entry_point.load(), known))
    except UnusablePluginError as error:
        checks = (_unusable(entry_point, distribution, str(error), known),)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is a plugin: what it raises is a finding
        reason = f"loading {entry_point.value} raised {type(error).__name__}: {error}"
        checks = (_unusable(entry_point, distribution, reason, known),)
    return Plugin(distribution, checks)


def _checks_in(loaded: object, known: Sequence[Check]) -> Iterator[Check]:
    """The checks of one entry point, each fit to stand beside the known ones. Raises UnusablePluginError."""
    checks = loaded if isinstance(loaded, list | tuple) else (loaded,)
    taken = {check.id for check in known}
    probes: dict[str, Probe[object]] = {probe.name: probe for check in known for probe in check.all_probes}
    for check in checks:
        if not isinstance(check, Check):
            raise UnusablePluginError(f"it gives {check!r:.60}, which is no Check")
        _look_over(check)
        if check.id in taken:
            raise UnusablePluginError(f"there is a check '{check.id}' already")
        for probe in check.all_probes:
            if probes.setdefault(probe.name, probe) != probe:
                raise UnusablePluginError(f"another probe has the name '{probe.name}' already")
        taken.add(check.id)
        yield check


def _look_over(check: Check) -> None:
    """Types are promises that no plugin need have been held to. Raises UnusablePluginError."""
    texts = (check.id, check.looks_at, check.why, check.by_hand)
    if not all(isinstance(text, str) for text in texts) or not ID.fullmatch(check.id):
        raise UnusablePluginError(
            f"its id {check.id!r} is not of the form 'lower-case-words', or a text is none"
        )
    if check.group not in GROUPS:
        raise UnusablePluginError(f"'{check.group}' is none of the groups {', '.join(GROUPS)}")
    if not set(check.systems) <= set(SYSTEMS):
        raise UnusablePluginError(f"its systems are not among {', '.join(SYSTEMS)}")
    parts = (
        *((requirement, Requirement) for requirement in check.requires),
        *((probe, Probe) for probe in check.probes),
        *((cause, Check) for cause in check.because_of),
    )
    for part, kind in parts:
        if not isinstance(part, kind):
            raise UnusablePluginError(f"'{check.id}' has {part!r:.60} where a {kind.__name__} belongs")


def _unusable(entry_point: EntryPoint, distribution: str, reason: str, known: Sequence[Check]) -> Check:
    name = "plugin-" + (re.sub(r"[^a-z0-9]+", "-", entry_point.name.lower()).strip("-") or "unnamed")
    while any(check.id == name for check in known):
        name += "-too"
    why = f"What the plugin '{entry_point.name}' of {distribution} would look at is not looked at."
    by_hand = f"Install a version of {distribution.split()[0]} that fits this aios, or uninstall it."

    def judge() -> Finding:
        return Finding(
            check=name,
            status="unknown",
            summary=f"The plugin '{entry_point.name}' of {distribution} cannot be used: {reason}",
            measured=reason,
            expected="an entry point that gives a Check, or a list of them",
            impact=why,
            hint=by_hand,
        )

    looks_at = f"Whether the plugin '{entry_point.name}' of {distribution} can be used."
    return Check(
        id=name, group="packages", looks_at=looks_at, why=why, by_hand=by_hand, probes=(), judge=judge
    )
