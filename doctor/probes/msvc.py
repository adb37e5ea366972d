"""Microsoft's C++ compiler: the Visual Studio installations listed by vswhere, and the toolsets in each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Reader, Reading, Unreadable
from doctor.host.completed import exit_code, first_line
from doctor.probes.paths import join, program_files_x86
from doctor.probes.text_files import read_text

# Without `-all` vswhere leaves out incomplete installations, without `-products *` the Build Tools. Text output, not
# JSON, survives a wrong encoding.
ALL = "-all"
QUERY = ("-products", "*", "-prerelease", "-nologo", "-format", "text")


@dataclass(frozen=True)
class VisualStudio:
    """One installation.

    Attributes:
        name: the product: "Visual Studio Build Tools 2022".
        pending: what its installation still needs, in a clause; builds do not find such a Visual Studio. Empty if complete.
        toolset: the version of the C++ tools a build uses by default, such as "14.41.34120"; Absent without C++ tools.
        toolsets: every installed version of the C++ tools.
        tools: names in the folder of the x64 compiler: cl.exe, and one folder per language ("1033").
        cuda_from: the oldest CUDA that the C++ headers of `toolset` accept (error STL1002); Absent if they do not state it.
    """

    path: str
    version: str
    name: str
    pending: str
    toolset: Reading[str]
    toolsets: Reading[tuple[str, ...]]
    tools: Reading[tuple[str, ...]]
    cuda_from: Reading[tuple[int, int]]

    @property
    def builds_for_x64(self) -> bool:
        """Whether the default toolset has a compiler for x64, which builds need. True if that is not known."""
        if not isinstance(self.toolset, Found) or isinstance(self.tools, Absent):
            return False
        return isinstance(self.tools, Unreadable) or "cl.exe" in map(str.casefold, self.tools.value)


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
        """The installation setuptools and torch build with: the newest complete one that has C++ tools for x64."""
        return next((s for s in self.studios if s.builds_for_x64 and not s.pending), None)


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
    """Run vswhere. Return its first success, else its first result."""
    results = []
    # vswhere before 2.2 does not know -utf8
    for options in ((ALL, *QUERY, "-utf8"), (ALL, *QUERY), (*QUERY, "-utf8")):
        ran = host.run([vswhere, *options], timeout=10.0)
        if isinstance(ran, Absent) or (isinstance(ran, Found) and ran.value.exit_code == 0):
            return ran
        results.append(ran)
    return results[0]


def _pending(table: dict[str, str]) -> str:
    """Return what an installation still needs, from vswhere's properties; empty if it is complete."""
    if table.get("isRebootRequired") == "1":
        return "Windows must be restarted to finish its installation"
    if "0" in (table.get("isComplete"), table.get("isLaunchable")):
        return "its installation is not complete"
    return ""


def parse_yvals_core(text: str) -> tuple[int, int] | None:
    """Return the oldest CUDA that a toolset's yvals_core.h accepts; None if it accepts any."""
    found = re.search(r"STL1002\b[^\n]*expected CUDA (\d{1,3})\.(\d{1,3}) or newer", text)
    return (int(found[1]), int(found[2])) if found else None


def _cuda_from(host: Reader, toolset: str) -> Reading[tuple[int, int]]:
    header = read_text(host, join(host, toolset, "include", "yvals_core.h"))
    if not isinstance(header, Found):
        return header
    cuda = parse_yvals_core(header.value)
    return Found(cuda) if cuda else Absent()


def _toolset(host: Reader, installation: str) -> Reading[str]:
    name = "Microsoft.VCToolsVersion.default.txt"
    content = read_text(host, join(host, installation, "VC", "Auxiliary", "Build", name))
    if not isinstance(content, Found):
        return content
    version = content.value.strip()
    return Found(version) if version[:1].isdigit() else Unreadable(f"{name} contains {version[:40]!r}")


def _studio(host: Reader, table: dict[str, str]) -> VisualStudio:
    path = table["installationPath"]
    toolset = _toolset(host, path)
    toolsets = join(host, path, "VC", "Tools", "MSVC")
    chosen = join(host, toolsets, toolset.value) if isinstance(toolset, Found) else None
    return VisualStudio(
        path=path,
        version=table.get("installationVersion", ""),
        name=table.get("displayName") or "Visual Studio",
        pending=_pending(table),
        toolset=toolset,
        toolsets=host.list_directory(toolsets),
        tools=host.list_directory(join(host, chosen, "bin", "Hostx64", "x64")) if chosen else Absent(),
        cuda_from=_cuda_from(host, chosen) if chosen else Absent(),
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
    return MsvcFacts(Found(tuple(_studio(host, table) for table in installed)), installer)


def _prompt(host: Reader) -> PromptFacts:
    return PromptFacts(
        target=host.variable("VSCMD_ARG_TGT_ARCH"),
        use_sdk=host.variable("DISTUTILS_USE_SDK"),
        language=host.variable("VSLANG"),
        compiler=host.find_program("cl"),
    )


MSVC = Probe("msvc", _msvc, timeout=45.0)
PROMPT = Probe("vs-prompt", _prompt)
