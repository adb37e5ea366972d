"""May PowerShell run the script that activates a virtual environment?"""

from __future__ import annotations

from doctor.actions import SetRegistryValue
from doctor.check import Check
from doctor.checks.shared import cannot_tell, could_not_look, registry_evidence
from doctor.host import Found, RegistryValue, Unreadable
from doctor.models import Finding, Fix
from doctor.probes.powershell import CHOICES, POLICIES, SCRIPT_POLICY, ScriptPolicyFacts

ABOUT = (
    "https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_execution_policies"
)
REFUSES = {"restricted", "allsigned", "default"}
ALLOW = Fix(
    id="allow-local-scripts",
    applicability="unsafe",
    commands=("Set-ExecutionPolicy -Scope CurrentUser RemoteSigned",),
    actions=(
        SetRegistryValue(
            key=f"HKCU\\{CHOICES}",
            name="ExecutionPolicy",
            state=RegistryValue(type="REG_SZ", value="RemoteSigned"),
        ),
    ),
)


def judge(policy: ScriptPolicyFacts) -> Finding:
    for key, reading in policy.scopes.items():
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, key, reading.reason)
    place, value = _effective(policy)
    if value is None:
        return cannot_tell(CHECK.id, "what PowerShell runs", "nobody can tell whether this is Windows Server")
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"PowerShell runs local scripts ({value})",
        measured=f"{value}, by {place}",
        expected="RemoteSigned, Bypass or Unrestricted",
        evidence=tuple(
            registry_evidence(key, "ExecutionPolicy", reading) for key, reading in policy.scopes.items()
        ),
    )
    if value.lower() not in REFUSES:
        return finding
    by_administrator = POLICIES in place
    return finding.model_copy(
        update={
            "status": "info",
            "summary": f"PowerShell runs no scripts ({value}): Activate.ps1 fails, activate.bat in a command prompt works",
            "impact": CHECK.why,
            "hint": "Your administrator has set this; aios needs no activation: .venv\\Scripts\\aios doctor"
            if by_administrator
            else CHECK.by_hand,
            "links": (ABOUT,),
            "fix": None if by_administrator else ALLOW,
        }
    )


def _effective(policy: ScriptPolicyFacts) -> tuple[str, str | None]:
    """The place that decides and what it says. What this terminal was started with stands below the policies."""
    said = [(key, str(value.value.value)) for key, value in policy.scopes.items() if isinstance(value, Found)]
    by_policy = [(key, value) for key, value in said if POLICIES in key]
    by_process = [("this terminal", policy.process)] if policy.process else []
    by_choice = [(key, value) for key, value in said if POLICIES not in key and value.lower() != "undefined"]
    default = {True: "RemoteSigned", False: "Restricted", None: None}[policy.is_server]
    return next(iter((*by_policy, *by_process, *by_choice)), ("Windows' default", default))


CHECK = Check(
    id="powershell-policy",
    group="system",
    looks_at="PowerShell's execution policy, where the registry keeps it: administrators' policies, your user, the machine.",
    why="Activate.ps1 then ends in 'running scripts is disabled on this system'. Nothing else of aios needs a script.",
    by_hand="Call .venv\\Scripts\\aios without activating; or, in PowerShell: Set-ExecutionPolicy -Scope CurrentUser RemoteSigned",
    probes=(SCRIPT_POLICY,),
    judge=judge,
    systems=frozenset({"windows"}),
)
