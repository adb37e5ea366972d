"""Microsoft's C++ compiler: the Visual Studio installations listed by vswhere, and the toolsets in each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Reader, Reading, Unreadable
from doctor.host.completed import exit_code, first_line
from doctor.probes.paths import join, program_files_x86
from doctor.probes.text_files import read_text

# Without `-products *` vswhere leaves out the Build Tools. Text output, not JSON, survives a wrong encoding.
QUERY = ("-products", "*", "-prerelease", "-nologo", "-format", "text")


@dataclass(frozen=True)
class VisualStudio:
    """One installation.

    Attributes:
        toolset: the version of the C++ tools a build uses by default, such as "14.41.34120"; Absent without C++ tools.
        toolsets: every installed version of the C++ tools.
        tools: names in the folder of the x64 compiler: cl.exe, and one folder per language ("1033").
    """

    path: str
    version: str
    toolset: Reading[str]
    toolsets: Reading[tuple[str, ...]]
    tools: Reading[tuple[str, ...]]


@dataclass(frozen=True)
class MsvcFacts:
    """`installations` is Absent if there is no Visual Studio Installer; `installer` is the folder it would be in."""

    installations: Reading[tuple[VisualStudio, ...]]
    installer: str

    @property
    def studios(self) -> tuple[VisualStudio, ...]:
        """The installations, newest first."""
        found = self.installations.value if isinstance(self.installations, Found) else ()
        return tuple(sorted(found, key=lambda studio: version_key(studio.version), reverse=True))

    @property
    def chosen(self) -> VisualStudio | None:
        """The installation setuptools and torch build with: the newest that has C++ tools."""
        return next((studio for studio in self.studios if isinstance(studio.toolset, Found)), None)


@dataclass(frozen=True)
class PromptFacts:
    """What this terminal's environment says about a Visual Studio command prompt.

    Attributes:
        target: VSCMD_ARG_TGT_ARCH, the architecture its compiler builds for, such as "x64"; None outside a prompt.
        use_sdk: DISTUTILS_USE_SDK.
        language: VSLANG, the preferred language of compiler messages; no prompt sets it.
        compiler: the path of the cl found on PATH.
    """

    target: str | None
    use_sdk: str | None
    language: str | None
    compiler: Reading[str]


def version_key(version: str) -> tuple[int, ...]:
    """Sort key for a version such as "17.11.35327.3"."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version))


def parse_vswhere(output: str) -> list[dict[str, str]]:
    """Return the installations in vswhere's text output, each as its properties by name."""
    installations: list[dict[str, str]] = []
    for line in output.splitlines():
        name, separator, value = line.partition(": ")
        if not separator or " " in name:
            continue
        if name == "instanceId" or not installations:
            installations.append({})
        installations[-1][name] = value.strip()
    return [table for table in installations if table.get("installationPath")]


def _run(host: Reader, vswhere: str) -> Reading[Completed]:
    ran = host.run([vswhere, *QUERY, "-utf8"], timeout=20.0)
    if isinstance(ran, Found) and ran.value.exit_code != 0:  # vswhere before 2.2 does not know -utf8
        return host.run([vswhere, *QUERY], timeout=20.0)
    return ran


def _toolset(host: Reader, installation: str) -> Reading[str]:
    name = "Microsoft.VCToolsVersion.default.txt"
    content = read_text(host, join(host, installation, "VC", "Auxiliary", "Build", name))
    if not isinstance(content, Found):
        return content
    version = content.value.strip()
    return Found(version) if version[:1].isdigit() else Unreadable(f"{name} contains {version[:40]!r}")


def _studio(host: Reader, path: str, version: str) -> VisualStudio:
    toolset = _toolset(host, path)
    tools = join(host, path, "VC", "Tools", "MSVC")
    return VisualStudio(
        path=path,
        version=version,
        toolset=toolset,
        toolsets=host.list_directory(tools),
        tools=host.list_directory(join(host, tools, toolset.value, "bin", "Hostx64", "x64"))
        if isinstance(toolset, Found)
        else Absent(),
    )


def _msvc(host: Reader) -> MsvcFacts:
    installer = join(host, program_files_x86(host), "Microsoft Visual Studio", "Installer")
    ran = _run(host, join(host, installer, "vswhere.exe"))
    if not isinstance(ran, Found):
        return MsvcFacts(ran, installer)
    installed = parse_vswhere(ran.value.stdout)
    if ran.value.exit_code != 0 or (ran.value.stdout.strip() and not installed):
        said = f"ended with exit code {exit_code(ran.value)} and printed {first_line(ran.value)!r}"
        return MsvcFacts(Unreadable(f"vswhere {said}"), installer)
    studios = tuple(
        _studio(host, table["installationPath"], table.get("installationVersion", "")) for table in installed
    )
    return MsvcFacts(Found(studios), installer)


def _prompt(host: Reader) -> PromptFacts:
    return PromptFacts(
        target=host.variable("VSCMD_ARG_TGT_ARCH"),
        use_sdk=host.variable("DISTUTILS_USE_SDK"),
        language=host.variable("VSLANG"),
        compiler=host.find_program("cl"),
    )


MSVC = Probe("msvc", _msvc, timeout=45.0)
PROMPT = Probe("vs-prompt", _prompt)
