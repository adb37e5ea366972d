"""The closed set of changes that a fix may consist of. Each is a target and the state it should have.

An action knows how to read its target's state, whether that is already the wanted one, how to bring it about, and the
action that puts an earlier state back (its inverse: the same target, the earlier state).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from doctor.actions.base import BaseAction, UnreadableStateError
from doctor.actions.files import MakeDirectory, MoveFolder, WriteFile
from doctor.actions.settings import (
    EditUserPath,
    SetGitSetting,
    SetRegistryValue,
    SetUserEnvironmentVariable,
)
from doctor.actions.software import InstallPackages, RunInstaller

__all__ = [
    "Action",
    "BaseAction",
    "EditUserPath",
    "InstallPackages",
    "MakeDirectory",
    "MoveFolder",
    "RunInstaller",
    "SetGitSetting",
    "SetRegistryValue",
    "SetUserEnvironmentVariable",
    "UnreadableStateError",
    "WriteFile",
]

Action = Annotated[
    SetRegistryValue
    | SetUserEnvironmentVariable
    | EditUserPath
    | MakeDirectory
    | MoveFolder
    | WriteFile
    | SetGitSetting
    | InstallPackages
    | RunInstaller,
    Field(discriminator="kind"),
]
