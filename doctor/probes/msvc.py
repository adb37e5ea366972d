"""Microsoft's C++ compiler: the Visual Studio installations that vswhere lists, and the toolset in each."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Completed, Found, Host, Reading, Unreadable
from doctor.host.endings import exit_code, first_words
from doctor.probes.paths import join

# Without `-products *` the Build Tools stay invisible. As text, not JSON: in a damaged encoding the fields still read.
QUERY = ("-products", "*", "-prerelease", "-nologo", "-format", "text")


@dataclass(frozen=True)
class VisualStudio:
    """One installation. `toolset` is the version of its C++ tools: "14.41.34120"; Absent: it has none."""

    path: str
    version: str
    toolset: Reading[str]


@dataclass(frozen=True)
class MsvcFacts:
    """`installations` Absent: no Visual Studio installer was ever here."""

    installations: Reading[tuple[VisualStudio, ...]]


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
    content = host.read_file(join(host, installation, "VC", "Auxiliary", "Build", name))
    if not isinstance(content, Found):
        return content
    version = content.value.decode("utf-8", errors="replace").strip()
    return Found(version) if version[:1].isdigit() else Unreadable(f"{name} holds {version[:40]!r}")


def _msvc(host: Host) -> MsvcFacts:
    files = host.variable("ProgramFiles(x86)") or "C:\\Program Files (x86)"
    ran = _run(host, join(host, files, "Microsoft Visual Studio", "Installer", "vswhere.exe"))
    if not isinstance(ran, Found):
        return MsvcFacts(ran)
    installed = parse_vswhere(ran.value.stdout)
    if ran.value.exit_code != 0 or (ran.value.stdout.strip() and not installed):
        said = f"ended with exit code {exit_code(ran.value)} and printed {first_words(ran.value)!r}"
        return MsvcFacts(Unreadable(f"vswhere {said}"))
    return MsvcFacts(
        Found(
            tuple(
                VisualStudio(
                    path=table["installationPath"],
                    version=table.get("installationVersion", ""),
                    toolset=_toolset(host, table["installationPath"]),
                )
                for table in installed
            )
        )
    )


PROBE = Probe("msvc", _msvc, timeout=45.0)
