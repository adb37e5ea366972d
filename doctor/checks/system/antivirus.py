"""Can an antivirus or Controlled folder access keep Python from writing its files?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.shared import registry_evidence, skipped
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.antivirus import ANTIVIRUS, CONTROLLED, SETTING, AntivirusFacts
from doctor.probes.system import IDENTITY

LINKS = ("https://learn.microsoft.com/defender-endpoint/controlled-folders",)
BLOCKS = 1


def judge(facts: AntivirusFacts, identity: Identity) -> Finding:
    setting = facts.controlled.value.value if isinstance(facts.controlled, Found) else None
    controlled = "on" if setting == BLOCKS else "off"
    products = ", ".join(facts.products)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Antivirus: {products or 'Microsoft Defender'}; Controlled folder access is {controlled}",
        measured=f"{SETTING} is {setting}; products: {products or 'none but Microsoft Defender'}",
        expected="an environment that Python may write to",
        evidence=(
            registry_evidence(CONTROLLED, SETTING, facts.controlled),
            Evidence(source="registry", name="antivirus products", value=list(facts.products)),
        ),
    )
    folder = next((each for each in facts.protected if _is_below(identity, identity.prefix, each)), None)
    if setting == BLOCKS and folder and not facts.allowed:
        return finding.but(
            status="warning",
            summary=f"Controlled folder access protects {folder}, where this environment is: Python may not write there",
            impact=CHECK.why,
            hint="Move the environment to a folder that is not protected, such as C:\\aios, or allow this python.exe in Windows Security > Ransomware protection.",
            links=LINKS,
        )
    if facts.products and facts.remains:
        return finding.but(
            status="info",
            summary=f"{products} scans the files that pip replaces; pip could not remove {facts.remains[0]}",
            impact=CHECK.why,
            hint=f"If this happens again, exclude {identity.prefix} and pip's cache from scanning during installations.",
        )
    return finding


def _setting_unreadable(check: str, facts: AntivirusFacts) -> Finding | None:
    """Skip the check if the setting is unreadable: it only gives hints."""
    if isinstance(facts.controlled, Unreadable):
        return skipped(check, f"{SETTING} in the registry could not be read: {facts.controlled.reason}")
    return None


def _is_below(identity: Identity, path: str, folder: str) -> bool:
    return identity.path(folder) in (identity.path(path), *identity.path(path).parents)


CHECK = Check(
    id="antivirus",
    group="system",
    looks_at="The antivirus products that are registered in Windows, and whether Controlled folder access protects the folder of this environment.",
    why="A file that is being scanned cannot be renamed or removed ('[WinError 5]', '[WinError 32]'), and Controlled folder access does not let Python write to Documents, Desktop and other folders.",
    by_hand="Keep environments outside of Documents and Desktop, for example in C:\\aios. Windows Security > Protection history lists what was blocked.",
    probes=(ANTIVIRUS, IDENTITY),
    judge=judge,
    systems=frozenset({"windows"}),
    requires=(Requirement((ANTIVIRUS,), _setting_unreadable),),
)
