"""The closed set of changes that a fix may consist of. Each is a target and its desired state.

An action can read the state of its target, compare it with the desired one, change it, and return its inverse: the
action with the same target and the earlier state.
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
