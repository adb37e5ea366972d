"""Fixes that install what builds take: Python packages by pip, programs by winget or the Visual Studio installer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doctor.actions import InstallPackages, RunInstaller
from doctor.checks.shared import pip_install
from doctor.host import Absent, Found, Identity, Reading
from doctor.models import Fix
from doctor.probes.build_environment import BuildPackagesFacts
from wheels.source_build import winget_cuda_version

CUDA_DOWNLOADS = "https://developer.nvidia.com/cuda-toolkit-archive"
COMPILER = "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"
WINDOWS_SDK = "Microsoft.VisualStudio.Component.Windows11SDK.22621"  # of Visual Studio 2022
OTHER_WINDOWS_SDKS = {
    "16": "Microsoft.VisualStudio.Component.Windows10SDK.19041",
    "18": "Microsoft.VisualStudio.Component.Windows11SDK.26100",
}


def packages(
    fix: str, identity: Identity, facts: BuildPackagesFacts, wanted: Mapping[str, str]
) -> Fix | None:
    """Have pip see to packages (name -> version specifier); None where pip may install nothing, or nobody can tell."""
    if not isinstance(facts.managed, Found) or facts.managed.value:
        return None
    own = identity.in_virtual_environment  # else other programs use these packages, too
    return Fix(
        id=fix,
        applicability="safe" if own else "unsafe",
        commands=(pip_install(identity, wanted),),
        actions=(InstallPackages(packages=tuple(wanted), state=tuple(wanted.values())),),
    )


def winget_command(package: str, *arguments: str) -> tuple[str, ...]:
    return ("winget", "install", "--exact", "--id", package, *arguments)


def overriding(*components: str) -> tuple[str, str]:
    """winget's arguments that have the Visual Studio installer add components, and wait for its end."""
    added = " ".join(f"--add {component}" for component in components)
    return "--override", f"--passive --wait --norestart {added}"


def typed(command: Sequence[str]) -> str:
    """As a person types it."""
    return " ".join(f'"{part}"' if " " in part else part for part in command)


def by_winget(fix: str, product: str, winget: Reading[str], package: str, *arguments: str, link: str) -> Fix:
    """A package of winget, in its installer's own window; without winget, the place where to get it."""
    command = winget_command(package, *arguments)
    found = isinstance(winget, Found)
    return Fix(
        id=fix,
        applicability="unsafe" if found else "manual",
        elevated=True,
        restart="shell",
        reversible=False,
        commands=(typed(command),) if found else (f"Download {product} from {link}, and run it",),
        actions=(RunInstaller(product=product, command=command),) if found else (),
    )


def windows_sdk(studio: str) -> str:
    """The component that brings a Windows SDK to this version of Visual Studio ("17.11.35327.3")."""
    return OTHER_WINDOWS_SDKS.get(studio.partition(".")[0], WINDOWS_SDK)


def by_visual_studio(fix: str, installer: str, path: str, *added: str) -> Fix:
    """Add to a Visual Studio that is there. Its installer wants a terminal opened as administrator."""
    return Fix(
        id=fix,
        applicability="manual",
        elevated=True,
        reversible=False,
        commands=(
            # PowerShell runs no program whose name stands in quotes
            f'cmd /c call "{installer}\\setup.exe" modify --installPath "{path}" --passive --norestart {" ".join(added)}',
        ),
    )


def cuda_toolkit(identity: Identity, winget: Reading[str], cuda: str | None) -> Fix | None:
    """The toolkit of one CUDA version, in its own window: there the driver inside, which may be older, can be left out."""
    if identity.os != "windows" or cuda is None:
        return None
    version = winget_cuda_version(cuda)
    return by_winget(
        "install-cuda-toolkit",
        f"the CUDA toolkit {cuda}",
        winget if version else Absent(),
        "Nvidia.CUDA",
        "--version",
        version or cuda,
        "--interactive",
        link=CUDA_DOWNLOADS,
    )
