"""Microsoft's C++ compiler: the Visual Studio installations that vswhere lists, and the toolset in each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Host, Reading, Unreadable
from doctor.host.completed import exit_code, first_words
from doctor.probes.paths import join, program_files_x86
from doctor.probes.text_files import read_text

# Without `-products *` the Build Tools stay invisible. As text, not JSON: in a damaged encoding the fields still read.
QUERY = ("-products", "*", "-prerelease", "-nologo", "-format", "text")


@dataclass(frozen=True)
class VisualStudio:
    """One installation. `toolset` is the version of its C++ tools that a build takes: "14.41.34120"; Absent: it has none.

    Attributes:
        toolsets: all that are installed beside each other.
        tools: names in the folder of the toolset's x64 compiler: cl.exe, and a folder for each language ("1033").
    """

    path: str
    version: str
    toolset: Reading[str]
    toolsets: Reading[tuple[str, ...]]
    tools: Reading[tuple[str, ...]]


@dataclass(frozen=True)
class MsvcFacts:
    """`installations` Absent: no Visual Studio installer was ever here. `installer` is the folder for it."""

    installations: Reading[tuple[VisualStudio, ...]]
    installer: str

    @property
    def studios(self) -> tuple[VisualStudio, ...]:
        """The installations, newest first."""
        found = self.installations.value if isinstance(self.installations, Found) else ()
        return tuple(sorted(found, key=lambda studio: version_key(studio.version), reverse=True))

    @property
    def chosen(self) -> VisualStudio | None:
        """The one that setuptools and torch build with: the newest with C++ tools."""
        return next((studio for studio in self.studios if isinstance(studio.toolset, Found)), None)


@dataclass(frozen=True)
class PromptFacts:
    """What a Visual Studio command prompt leaves in this terminal's environment. None, Absent: it is none."""

    target: str | None  # "x64": what its compiler builds for
    use_sdk: str | None  # DISTUTILS_USE_SDK
    language: str | None  # VSLANG, which no prompt sets: what the compiler speaks, where it can
    compiler: Reading[str]  # cl on PATH


def version_key(version: str) -> tuple[int, ...]:
    """ "17.11.35327.3" in an order of numbers."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version))


def parse_vswhere(output: str) -> list[dict[str, str]]:
    """The installations in vswhere's text output, as property tables."""
    installations: list[dict[str, str]] = []
    for line in output.splitlines():
        name, separator, value = line.partition(": ")
        if not separator or " " in name:
            continue
        if name == "instanceId" or not installations:
            installations.append({})
        installations[-1][name] = value.strip()
    return [table for table in installations if table.get("installationPath")]


def _run(host: Host, vswhere: str) -> Reading[Completed]:
    ran = host.run([vswhere, *QUERY, "-utf8"], timeout=20.0)
    if isinstance(ran, Found) and ran.value.exit_code != 0:  # vswhere before 2.2 does not know -utf8
        return host.run([vswhere, *QUERY], timeout=20.0)
    return ran


def _toolset(host: Host, installation: str) -> Reading[str]:
    name = "Microsoft.VCToolsVersion.default.txt"
    content = read_text(host, join(host, installation, "VC", "Auxiliary", "Build", name))
    if not isinstance(content, Found):
        return content
    version = content.value.strip()
    return Found(version) if version[:1].isdigit() else Unreadable(f"{name} holds {version[:40]!r}")


def _studio(host: Host, path: str, version: str) -> VisualStudio:
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


def _msvc(host: Host) -> MsvcFacts:
    installer = join(host, program_files_x86(host), "Microsoft Visual Studio", "Installer")
    ran = _run(host, join(host, installer, "vswhere.exe"))
    if not isinstance(ran, Found):
        return MsvcFacts(ran, installer)
    installed = parse_vswhere(ran.value.stdout)
    if ran.value.exit_code != 0 or (ran.value.stdout.strip() and not installed):
        said = f"ended with exit code {exit_code(ran.value)} and printed {first_words(ran.value)!r}"
        return MsvcFacts(Unreadable(f"vswhere {said}"), installer)
    studios = tuple(
        _studio(host, table["installationPath"], table.get("installationVersion", "")) for table in installed
    )
    return MsvcFacts(Found(studios), installer)


def _prompt(host: Host) -> PromptFacts:
    return PromptFacts(
        target=host.variable("VSCMD_ARG_TGT_ARCH"),
        use_sdk=host.variable("DISTUTILS_USE_SDK"),
        language=host.variable("VSLANG"),
        compiler=host.find_program("cl"),
    )


MSVC = Probe("msvc", _msvc, timeout=45.0)
PROMPT = Probe("vs-prompt", _prompt)
