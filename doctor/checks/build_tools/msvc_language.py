"""Does Microsoft's compiler print English, as torch expects?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.requires import MSVC_COMPILER
from doctor.checks.shared import could_not_look, required, skipped, value_of
from doctor.checks.system.variable_fixes import SIGN_OUT, set_for_user
from doctor.host import Found, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import MSVC, PROMPT, MsvcFacts, PromptFacts

ENGLISH = "1033"
SWITCH = RegistryValue(type="REG_SZ", value=ENGLISH)
SPEAK_ENGLISH = Fix(
    id="have-msvc-speak-english",
    applicability="unsafe",  # the user may prefer messages in another language
    restart="shell",
    commands=(set_for_user("VSLANG", SWITCH), SIGN_OUT),
    actions=(SetUserEnvironmentVariable(name="VSLANG", state=SWITCH),),
)
LINK = "https://github.com/pytorch/pytorch/issues/157673"


def judge(msvc: MsvcFacts, prompt: PromptFacts) -> Finding:
    studio = required(msvc.chosen)
    toolset = value_of(studio.toolset)
    if isinstance(studio.tools, Unreadable):
        return could_not_look(CHECK.id, f"the compiler in {studio.path}", studio.tools.reason)
    names = studio.tools.value if isinstance(studio.tools, Found) else ()
    languages = sorted(name for name in names if name.isdigit() and len(name) == 4)
    if not languages:
        return skipped(CHECK.id, f"MSVC {toolset} lists no language of its messages")
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"MSVC {toolset} prints English",
        measured=f"languages {', '.join(languages)}, VSLANG is {prompt.language or 'not set'}",
        expected=f"only {ENGLISH} (English), or chosen by VSLANG",
        evidence=(
            Evidence(source="file", name="languages beside cl.exe", value=languages),
            Evidence(source="environment", name="VSLANG", value=prompt.language),
        ),
    )
    if languages == [ENGLISH] or (ENGLISH in languages and prompt.language == ENGLISH):
        return finding
    problem = finding.but(impact=CHECK.why, links=(LINK,))
    if ENGLISH in languages:
        return problem.but(
            status="info",
            summary=f"MSVC {toolset} prints English or another language, depending on the language of Windows",
            hint="Nothing to do on an English Windows; on others set VSLANG=1033.",
            fix=SPEAK_ENGLISH,
        )
    return problem.but(
        status="warning",
        summary=f"MSVC {toolset} cannot print English, which torch.compile on the CPU requires",
        hint=CHECK.by_hand,
        fix=build_tool_fixes.add_to_visual_studio(
            "add-english-to-msvc", msvc.installer, studio.path, "--addProductLang en-US"
        ),
    )


CHECK = Check(
    id="msvc-language",
    group="build-tools",
    looks_at="The language folders of the x64 compiler in the newest Visual Studio, and VSLANG. Nothing is run.",
    why="torch parses the compiler's output. Without English, torch.compile fails with 'only support MSVC with English language pack', and builds fail with UnicodeDecodeError.",
    by_hand="In the Visual Studio Installer: Modify > Language packs > English. If the compiler still prints another language, set VSLANG=1033.",
    probes=(MSVC, PROMPT),
    judge=judge,
    requires=(MSVC_COMPILER,),
    systems=frozenset({"windows"}),
    because_of=(msvc_check.CHECK,),
)
