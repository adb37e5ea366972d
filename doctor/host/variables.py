"""The environment variables of programs started later, which Windows keeps in the registry."""

from __future__ import annotations

import re

from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT, Reader, RegistryValue
from doctor.host.readings import Found


def expanded(host: Reader, value: RegistryValue) -> str:
    """The value as programs get it. %NAME% is replaced by a variable only in a REG_EXPAND_SZ."""
    text = str(value.value)
    if value.type != "REG_EXPAND_SZ":
        return text
    return re.sub("%([^%]+)%", lambda part: host.variable(part[1]) or part[0], text)


def inherited(host: Reader, name: str) -> str | None:
    """The variable that a program started from the desktop gets: the user's value, else the system's, expanded."""
    for key in (USER_ENVIRONMENT, SYSTEM_ENVIRONMENT):
        if isinstance(found := host.registry_value(key, name), Found):
            return expanded(host, found.value)
    return None
