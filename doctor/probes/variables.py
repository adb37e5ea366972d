"""An environment variable: what this process has of it, and where Windows keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.host import Absent, Host, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT


@dataclass(frozen=True)
class Variable:
    """`value` is this process's; `user` and `system` are the registry's, looked up where this process has one."""

    name: str
    value: str | None
    user: Reading[RegistryValue]
    system: Reading[RegistryValue]


def read_variable(host: Host, name: str) -> Variable:
    value = host.variable(name)
    if value is None:
        return Variable(name, None, Absent(), Absent())
    return Variable(
        name,
        value,
        host.registry_value(USER_ENVIRONMENT, name),
        host.registry_value(SYSTEM_ENVIRONMENT, name),
    )
