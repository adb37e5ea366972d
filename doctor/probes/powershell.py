"""Which scripts PowerShell runs, as the registry says it. PowerShell itself is not asked."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Host, Reading, RegistryValue, Unreadable

POLICIES = r"SOFTWARE\Policies\Microsoft\Windows\PowerShell"
CHOICES = r"SOFTWARE\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell"
WINDOWS_NT = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"


@dataclass(frozen=True)
class ScriptPolicyFacts:
    """Every place that may say it, the strongest first.

    Attributes:
        places: the key of a place, and what its ExecutionPolicy is; an administrator's switch EnableScripts = 0 reads
            as "Restricted".
        process: what this terminal was started with.
        is_server: Windows Server; None: nobody can tell.
    """

    places: dict[str, Reading[RegistryValue]]
    process: str | None
    is_server: bool | None


def _by_policy(host: Host, key: str) -> Reading[RegistryValue]:
    switch = host.registry_value(key, "EnableScripts")
    if isinstance(switch, Found) and switch.value.value == 0:
        return Found(RegistryValue(type="REG_SZ", value="Restricted"))
    return host.registry_value(key, "ExecutionPolicy") if isinstance(switch, Found) else switch


def _script_policy(host: Host) -> ScriptPolicyFacts:
    policies = {key: _by_policy(host, key) for key in (f"HKLM\\{POLICIES}", f"HKCU\\{POLICIES}")}
    choices = (f"HKCU\\{CHOICES}", f"HKLM\\{CHOICES}")
    kind = host.registry_value(WINDOWS_NT, "InstallationType")
    return ScriptPolicyFacts(
        places={**policies, **{key: host.registry_value(key, "ExecutionPolicy") for key in choices}},
        process=host.variable("PSExecutionPolicyPreference"),
        is_server=None
        if isinstance(kind, Unreadable)
        else isinstance(kind, Found) and str(kind.value.value).startswith("Server"),
    )


SCRIPT_POLICY = Probe("powershell", _script_policy)
