"""Fixes that install what builds need: Python packages with pip, programs with winget or the Visual Studio Installer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doctor.actions import InstallPackages, RunInstaller
from doctor.checks.shared import pip_install
from doctor.host import Absent, Found, Identity, Reading
from doctor.models import Applicability, Fix
from doctor.probes.build_environment import BuildPackagesFacts
from doctor.quoting import quoted
from wheels.source_build import winget_cuda_version

CUDA_DOWNLOADS = "https://developer.nvidia.com/cuda-toolkit-archive"
COMPILER = "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"
WINDOWS_SDK = "Microsoft.VisualStudio.Component.Windows11SDK.22621"  # for Visual Studio 2022
OTHER_WINDOWS_SDKS = {
    "16": "Microsoft.VisualStudio.Component.Windows10SDK.19041",
    "18": "Microsoft.VisualStudio.Component.Windows11SDK.26100",
}
# The builds that the Visual Studio Installer offers: learn.microsoft.com, "Visual Studio Build Tools component directory"
OFFERED_WINDOWS_SDKS = (18362, 19041, 20348, 22000, 22621, 26100)


def install_packages(
    fix: str, identity: Identity, facts: BuildPackagesFacts, wanted: Mapping[str, str]
) -> Fix | None:
    """Install packages (name -> version specifier) with pip; None if pip may not install here, or if that is unknown."""
    if not isinstance(facts.managed, Found) or facts.managed.value:
        return None
    # Outside a virtual environment other programs use the same packages
    applicability: Applicability = "safe" if identity.in_virtual_environment else "unsafe"
    return Fix(
        id=fix,
        applicability=applicability,
        commands=(pip_install(identity, wanted),),
        actions=(InstallPackages(packages=tuple(wanted), state=tuple(wanted.values())),),
    )


def winget_command(package: str, *arguments: str) -> tuple[str, ...]:
    return ("winget", "install", "--exact", "--id", package, *arguments)


def installer_options(*components: str) -> tuple[str, str]:
    """Return winget's arguments that make the Visual Studio Installer add components and wait until it has finished."""
    added = " ".join(f"--add {component}" for component in components)
    return "--override", f"--passive --wait --norestart {added}"


def as_typed(command: Sequence[str]) -> str:
    """Return the command line as a person types it."""
    return " ".join(quoted(part, windows=True, bare=True) for part in command)


def install_with_winget(
    fix: str, product: str, winget: Reading[str], package: str, *arguments: str, link: str
) -> Fix:
    """Install a winget package with its installer's own window; without winget, say where to download it."""
    command = winget_command(package, *arguments)
    found = isinstance(winget, Found)
    return Fix(
        id=fix,
        applicability="unsafe" if found else "manual",
        elevated=True,
        restart="shell",
        reversible=False,
        commands=(as_typed(command),) if found else (f"Download {product} from {link}, and run it",),
        actions=(RunInstaller(product=product, command=command),) if found else (),
    )


def windows_sdk_component(studio: str) -> str:
    """Return the Windows SDK component for a version of Visual Studio such as "17.11.35327.3"."""
    return OTHER_WINDOWS_SDKS.get(studio.partition(".")[0], WINDOWS_SDK)


def windows_sdk_of_build(build: int) -> str | None:
    """Return the component of the Windows SDK 10.0.BUILD.0; None if the Visual Studio Installer has none."""
    if build not in OFFERED_WINDOWS_SDKS:
        return None
    return f"Microsoft.VisualStudio.Component.Windows{11 if build >= 22000 else 10}SDK.{build}"


def add_to_visual_studio(fix: str, installer: str, path: str, *added: str) -> Fix:
    """Add components to an installed Visual Studio, by hand: its installer needs an administrator's terminal."""
    setup = quoted(f"{installer}\\setup.exe", windows=True)
    return Fix(
        id=fix,
        applicability="manual",
        elevated=True,
        reversible=False,
        commands=(
            # cmd /c call, because PowerShell does not run a program whose name is in quotes
            f"cmd /c call {setup} modify --installPath {quoted(path, windows=True)} --passive --norestart {' '.join(added)}",
        ),
    )


def install_cuda_toolkit(identity: Identity, winget: Reading[str], cuda: str | None) -> Fix | None:
    """Install the toolkit of one CUDA version, with its window, where its driver (which may be older) can be deselected."""
    if identity.os != "windows" or cuda is None:
        return None
    version = winget_cuda_version(cuda)
    return install_with_winget(
        "install-cuda-toolkit",
        f"the CUDA toolkit {cuda}",
        winget if version else Absent(),
        "Nvidia.CUDA",
        "--version",
        version or cuda,
        "--interactive",
        link=CUDA_DOWNLOADS,
    )
