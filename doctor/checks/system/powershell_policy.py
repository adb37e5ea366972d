"""Can PowerShell run the script that activates a virtual environment?"""

from __future__ import annotations

from doctor.actions import SetRegistryValue
from doctor.check import Check, Requirement
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
    scope, value = _effective(policy)
    if value is None:
        return cannot_tell(
            CHECK.id, "which scripts PowerShell runs", "it is unknown whether this is Windows Server"
        )
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"PowerShell runs local scripts ({value})",
        measured=f"{value}, by {scope}",
        expected="RemoteSigned, Bypass or Unrestricted",
        evidence=tuple(
            registry_evidence(key, "ExecutionPolicy", reading) for key, reading in policy.scopes.items()
        ),
    )
    if value.lower() not in REFUSES:
        return finding
    problem = finding.but(
        status="info",
        summary=f"PowerShell runs no scripts ({value}): Activate.ps1 fails, but activate.bat works in a command prompt",
        impact=CHECK.why,
        links=(ABOUT,),
    )
    if POLICIES in scope:
        hint = "Your administrator has set this. aios needs no activation: .venv\\Scripts\\aios doctor"
        return problem.but(hint=hint)
    return problem.but(hint=CHECK.by_hand, fix=ALLOW)


def _effective(policy: ScriptPolicyFacts) -> tuple[str, str | None]:
    """Return the scope that decides, and its policy: group policies, then this terminal, then the user's choice."""
    values = [
        (key, str(value.value.value)) for key, value in policy.scopes.items() if isinstance(value, Found)
    ]
    by_policy = [(key, value) for key, value in values if POLICIES in key]
    by_process = [("this terminal", policy.process)] if policy.process else []
    by_choice = [
        (key, value) for key, value in values if POLICIES not in key and value.lower() != "undefined"
    ]
    default = {True: "RemoteSigned", False: "Restricted", None: None}[policy.is_server]
    return next(iter((*by_policy, *by_process, *by_choice)), ("Windows' default", default))


def _unreadable_scope(check: str, policy: ScriptPolicyFacts) -> Finding | None:
    for key, reading in policy.scopes.items():
        if isinstance(reading, Unreadable):
            return could_not_look(check, key, reading.reason)
    return None


CHECK = Check(
    id="powershell-policy",
    group="system",
    looks_at="PowerShell's execution policy in the registry: group policies, your user, the machine.",
    why="If PowerShell runs no scripts, Activate.ps1 fails with 'running scripts is disabled on this system'. aios itself needs no PowerShell script.",
    by_hand="Run .venv\\Scripts\\aios without activating the environment. To allow local scripts, run in PowerShell: `Set-ExecutionPolicy -Scope CurrentUser RemoteSigned`.",
    probes=(SCRIPT_POLICY,),
    judge=judge,
    requires=(Requirement((SCRIPT_POLICY,), _unreadable_scope),),
    systems=frozenset({"windows"}),
)
