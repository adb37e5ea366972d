"""PowerShell's execution policy, read from the registry. PowerShell is not run."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, RegistryValue, Unreadable

POLICIES = r"SOFTWARE\Policies\Microsoft\Windows\PowerShell"
CHOICES = r"SOFTWARE\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell"
WINDOWS_NT = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"


@dataclass(frozen=True)
class ScriptPolicyFacts:
    """Every setting of the execution policy.

    Attributes:
        scopes: ExecutionPolicy by registry key, highest priority first; the group policy EnableScripts = 0 counts as
            "Restricted".
        process: the policy this terminal was started with.
        is_server: whether this is Windows Server; None if unknown.
    """

    scopes: dict[str, Reading[RegistryValue]]
    process: str | None
    is_server: bool | None


def _by_policy(host: Reader, key: str) -> Reading[RegistryValue]:
    switch = host.registry_value(key, "EnableScripts")
    if isinstance(switch, Found) and switch.value.value == 0:
        return Found(RegistryValue(type="REG_SZ", value="Restricted"))
    return host.registry_value(key, "ExecutionPolicy") if isinstance(switch, Found) else switch


def _script_policy(host: Reader) -> ScriptPolicyFacts:
    policies = {key: _by_policy(host, key) for key in (f"HKLM\\{POLICIES}", f"HKCU\\{POLICIES}")}
    choices = (f"HKCU\\{CHOICES}", f"HKLM\\{CHOICES}")
    kind = host.registry_value(WINDOWS_NT, "InstallationType")
    return ScriptPolicyFacts(
        scopes={**policies, **{key: host.registry_value(key, "ExecutionPolicy") for key in choices}},
        process=host.variable("PSExecutionPolicyPreference"),
        is_server=None
        if isinstance(kind, Unreadable)
        else isinstance(kind, Found) and str(kind.value.value).startswith("Server"),
    )


SCRIPT_POLICY = Probe("powershell", _script_policy)
