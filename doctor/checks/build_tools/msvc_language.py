"""Does Microsoft's compiler speak English, as torch expects?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.shared import could_not_look, skipped
from doctor.checks.system.variable_fixes import SIGN_OUT, set_for_user
from doctor.host import Found, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import MSVC, PROMPT, MsvcFacts, PromptFacts

ENGLISH = "1033"
SWITCH = RegistryValue(type="REG_SZ", value=ENGLISH)
SPEAK_ENGLISH = Fix(
    id="have-msvc-speak-english",
    applicability="unsafe",  # whoever reads its messages may want them in another language
    restart="shell",
    commands=(set_for_user("VSLANG", SWITCH), SIGN_OUT),
    actions=(SetUserEnvironmentVariable(name="VSLANG", state=SWITCH),),
)
LINK = "https://github.com/pytorch/pytorch/issues/157673"


def judge(msvc: MsvcFacts, prompt: PromptFacts) -> Finding:
    if isinstance(msvc.installations, Unreadable):
        return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
    studio = msvc.chosen
    if studio is None or not isinstance(studio.toolset, Found):
        return skipped(CHECK.id, "there is no Microsoft C++ compiler (see msvc)")
    if isinstance(studio.tools, Unreadable):
        return could_not_look(CHECK.id, f"the compiler in {studio.path}", studio.tools.reason)
    names = studio.tools.value if isinstance(studio.tools, Found) else ()
    languages = sorted(name for name in names if name.isdigit() and len(name) == 4)
    if not languages:
        return skipped(CHECK.id, f"MSVC {studio.toolset.value} has no compiler for x64")
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"MSVC {studio.toolset.value} speaks English",
        measured=f"languages {', '.join(languages)}, VSLANG is {prompt.language or 'not set'}",
        expected=f"{ENGLISH} (English) alone, or chosen by VSLANG",
        evidence=(
            Evidence(source="file", name="languages beside cl.exe", value=languages),
            Evidence(source="environment", name="VSLANG", value=prompt.language),
        ),
    )
    if languages == [ENGLISH] or (ENGLISH in languages and prompt.language == ENGLISH):
        return finding
    if ENGLISH in languages:
        return finding.but(
            status="info",
            summary=f"MSVC {studio.toolset.value} speaks English and others: Windows' language decides which",
            impact=CHECK.why,
            hint="Nothing on an English Windows; elsewhere set VSLANG=1033.",
            links=(LINK,),
            fix=SPEAK_ENGLISH,
        )
    return finding.but(
        status="warning",
        summary=f"MSVC {studio.toolset.value} lacks English: torch.compile on the processor refuses it",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
        fix=build_tool_fixes.by_visual_studio(
            "add-english-to-msvc", msvc.installer, studio.path, "--addProductLang en-US"
        ),
    )


CHECK = Check(
    id="msvc-language",
    group="build-tools",
    looks_at="The folders of languages beside the x64 compiler of the newest Visual Studio, and VSLANG. Nothing is run.",
    why="torch reads what the compiler prints: with another language alone, torch.compile ends in 'only support MSVC with English language pack' and builds in a UnicodeDecodeError.",
    by_hand="In the Visual Studio Installer: Modify > Language packs > English; where it speaks another one all the same, set VSLANG=1033.",
    probes=(MSVC, PROMPT),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(msvc_check.CHECK,),
)
