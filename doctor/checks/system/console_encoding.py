"""Can Python programs read and write the letters in this user's paths?"""

from __future__ import annotations

from packaging.version import Version

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.checks.system.variable_fixes import ENVIRONMENT_VARIABLES, SIGN_OUT, set_for_user
from doctor.host import Identity, RegistryValue
from doctor.models import Evidence, Finding, Fix
from doctor.probes.system import IDENTITY
from doctor.probes.windows_settings import ENCODING, EncodingFacts
from wheels.compatibility import parse_version

UTF_8 = 65001
ALWAYS_UTF_8_FROM = Version("3.15")  # PEP 686
SWITCH = "PYTHONUTF8"
ON = RegistryValue(type="REG_SZ", value="1")
UTF_8_MODE = Fix(
    id="python-utf-8-mode",
    applicability="unsafe",  # a program that relies on the old code page would misread its files
    restart="shell",
    commands=(set_for_user(SWITCH, ON), SIGN_OUT),
    actions=(SetUserEnvironmentVariable(name=SWITCH, state=ON),),
)
LINKS = ("https://docs.python.org/3/using/windows.html#utf-8-mode",)


def judge(identity: Identity, encoding: EncodingFacts) -> Finding:
    page = identity.ansi_code_page
    if page is None:
        return could_not_look(CHECK.id, "the code page", "Windows did not report one")
    version = parse_version(identity.python)
    always = version is not None and version >= ALWAYS_UTF_8_FROM and encoding.process != "0"
    foreign = [f"{what} ({path})" for what, path in encoding.paths.items() if not path.isascii()]
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Code page {page}, and all of your paths are plain ASCII",
        measured=f"code pages {page} and {identity.oem_code_page}, {SWITCH} is {encoding.process or 'not set'}",
        expected=f"{SWITCH}=1, or plain ASCII paths",
        evidence=(
            Evidence(source="identity", name="ANSI code page", value=page),
            Evidence(source="identity", name="OEM code page", value=identity.oem_code_page),
            Evidence(source="environment", name=SWITCH, value=encoding.process),
        ),
    )
    if encoding.process == "1" or always or page == UTF_8:
        return ok.but(summary="Python programs read and write UTF-8")
    if not foreign:
        return ok
    problem = ok.but(
        status="warning",
        summary=f"Python programs read and write code page {page}, and {foreign[0]} contains non-ASCII letters",
        impact=CHECK.why,
        links=LINKS,
    )
    if encoding.desktop == "1":
        return problem.but(hint="Open a new terminal: new programs use UTF-8.")
    hint = "Let the doctor switch Python to UTF-8, unless one of your programs relies on the old code page."
    return problem.but(hint=hint, fix=UTF_8_MODE)


CHECK = Check(
    id="console-encoding",
    group="system",
    looks_at=f"Windows' code pages, {SWITCH}, and whether this user's paths contain non-ASCII letters.",
    why="Compilers and Python programs write the old code page, and others read it as UTF-8: a build or download fails with UnicodeDecodeError or 'charmap codec can't encode'.",
    by_hand=f"Set {SWITCH} to 1 for your user: {ENVIRONMENT_VARIABLES}.",
    probes=(IDENTITY, ENCODING),
    judge=judge,
    systems=frozenset({"windows"}),
)
