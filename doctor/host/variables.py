"""What an environment variable will be for programs that are yet to start: Windows keeps it in the registry."""

from __future__ import annotations

import re

from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT, Reader, RegistryValue
from doctor.host.readings import Found


def expanded(host: Reader, value: RegistryValue) -> str:
    """A variable's value as programs get it: %NAME% stands for another one in REG_EXPAND_SZ alone."""
    text = str(value.value)
    if value.type != "REG_EXPAND_SZ":
        return text
    return re.sub("%([^%]+)%", lambda part: host.variable(part[1]) or part[0], text)


def inherited(host: Reader, name: str) -> str | None:
    """What a program started from the desktop gets as a variable: the user's value before the system's, expanded."""
    for key in (USER_ENVIRONMENT, SYSTEM_ENVIRONMENT):
        if isinstance(found := host.registry_value(key, name), Found):
            return expanded(host, found.value)
    return None
