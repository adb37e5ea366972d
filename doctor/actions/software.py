"""Actions on software: packages of this Python, and installers."""

from __future__ import annotations

import re
from typing import Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from doctor.actions.base import BaseAction, value_of
from doctor.actions.installer_exit_codes import outcome_of
from doctor.actions.outcome import Outcome
from doctor.host import Host, Reader


class InstallPackages(BaseAction):
    """Packages of this Python, by pip. `state` has a version specifier per package ("" for any), None: not installed."""

    kind: Literal["install-packages"] = "install-packages"
    packages: tuple[str, ...]
    state: tuple[str | None, ...]

    @property
    def _desired(self) -> dict[str, str | None]:
        return dict(zip(self.packages, self.state, strict=True))

    def describe(self) -> str:
        installed = [f"{name}{version}" for name, version in self._desired.items() if version is not None]
        removed = [name for name, version in self._desired.items() if version is None]
        steps = [f"install {', '.join(installed)}"] if installed else []
        if removed:
            steps.append(f"remove {', '.join(removed)}")
        return f"{' and '.join(steps)} with pip"

    def show(self, state: Any) -> str:
        versions = zip(self.packages, state, strict=True)
        return ", ".join(
            f"{name} not installed" if version is None else f"{name}{version}" for name, version in versions
        )

    def is_met_by(self, state: Any) -> bool:
        return all(map(_satisfies, state, self.state))

    def read(self, host: Reader) -> tuple[str | None, ...]:
        found = (value_of(host.distribution(name), name) for name in self.packages)
        return tuple(None if one is None else f"=={one.version}" for one in found)

    def apply(self, host: Host) -> None:
        host.set_packages(self._desired)


def _satisfies(present: str | None, wanted: str | None) -> bool:
    """Whether the installed version ("==1.0", None for none) satisfies a specifier. "1.0+cpu" does not satisfy "==1.0"."""
    if present is None or wanted is None or present == wanted:
        return present == wanted
    try:
        version = Version(present.removeprefix("=="))
        if re.fullmatch(r"==[^*,]+", wanted):
            return version == Version(wanted.removeprefix("=="))
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except (InvalidVersion, InvalidSpecifier):
        return False


class RunInstaller(BaseAction):
    """An installer with its own window. The doctor cannot undo what it does."""

    kind: Literal["run-installer"] = "run-installer"
    product: str
    command: tuple[str, ...]
    state: Literal["run", "not run"] = "run"

    @property
    def manual_undo(self) -> str:
        return f"uninstall {self.product} in Windows Settings > Apps > Installed apps"

    def describe(self) -> str:
        return f"run {' '.join(self.command)}"

    def read(self, host: Reader) -> str:
        return "not run"  # the check decides whether the product is installed

    def apply(self, host: Host) -> Outcome:
        return outcome_of(host.run_installer(self.command))
