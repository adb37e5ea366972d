"""Actions on what is installed: packages of this Python, and whatever an installer brings."""

from __future__ import annotations

import re
from typing import Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from doctor.actions.base import BaseAction, value_of
from doctor.actions.installer_exit_codes import Ending, ending
from doctor.host import Host, Reader


class InstallPackages(BaseAction):
    """Packages of this Python, by pip. `state` gives each package's version specifier ("" for any), None: not there."""

    kind: Literal["install-packages"] = "install-packages"
    packages: tuple[str, ...]
    state: tuple[str | None, ...]

    @property
    def _wanted(self) -> dict[str, str | None]:
        return dict(zip(self.packages, self.state, strict=True))

    def describe(self) -> str:
        return f"have pip see to {self.show(self.state)}"

    def show(self, state: Any) -> str:
        versions = zip(self.packages, state, strict=True)
        return ", ".join(
            f"no {name}" if version is None else f"{name}{version}" for name, version in versions
        )

    def is_met_by(self, state: Any) -> bool:
        return all(map(_satisfies, state, self.state))

    def read(self, host: Reader) -> tuple[str | None, ...]:
        found = (value_of(host.distribution(name), name) for name in self.packages)
        return tuple(None if one is None else f"=={one.version}" for one in found)

    def apply(self, host: Host) -> None:
        host.set_packages(self._wanted)


def _satisfies(present: str | None, wanted: str | None) -> bool:
    """Is the version that is there ("==1.0", None for none) one of those wanted? "==1.0" wants no "1.0+cpu"."""
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
    """A program that installs something for the whole machine, in its own window. What it does is its own to undo."""

    kind: Literal["run-installer"] = "run-installer"
    product: str
    command: tuple[str, ...]
    state: Literal["run", "not run"] = "run"

    @property
    def undone_by_hand(self) -> str:
        return f"remove {self.product} in Windows' settings, Apps, Installed apps"

    def describe(self) -> str:
        return f"run {' '.join(self.command)}"

    def read(self, host: Reader) -> str:
        return "not run"  # whether its product is there is for the check to judge

    def apply(self, host: Host) -> Ending:
        return ending(host.run_installer(self.command))
