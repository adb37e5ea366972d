"""An environment variable: its value in this process, and where the Windows registry defines it."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.host import Absent, Reader, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT


@dataclass(frozen=True)
class Variable:
    """`value` is the process's; `user` and `system` are registry values, read only if `value` is set."""

    name: str
    value: str | None
    user: Reading[RegistryValue]
    system: Reading[RegistryValue]


def read_variable(host: Reader, name: str) -> Variable:
    value = host.variable(name)
    if value is None:
        return Variable(name, None, Absent(), Absent())
    return Variable(
        name,
        value,
        host.registry_value(USER_ENVIRONMENT, name),
        host.registry_value(SYSTEM_ENVIRONMENT, name),
    )
