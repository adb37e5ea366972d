"""Are the requirements of the packages that matter met, or could pip's next run replace the CUDA build of torch?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from doctor.actions import InstallPackages
from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.requires import present, readable
from doctor.checks.shared import for_this_python, pip_install, torch_is, value_of
from doctor.host import Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding, FindingChanges, Fix
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.site_packages import INSTALLED, SITE_PACKAGES, Installed, SitePackages
from doctor.probes.system import IDENTITY
from wheels.compatibility import parse_version
from wheels.flash_attn_builds import cute_on_windows_from
from wheels.machine import TorchBuild
from wheels.requirements import Unmet, unmet_requirements

LINK = "https://pip.pypa.io/en/stable/topics/dependency-resolution/"
FLASH_ATTENTION_4 = "https://github.com/Dao-AILab/flash-attention"
MATTERING = (
    "aios-doctor", "torch", "torchvision", "torchaudio", "xformers", "flash-attn", "flash-attn-4", "triton", "triton-windows",
    "transformers", "tokenizers", "safetensors", "huggingface-hub", "accelerate", "bitsandbytes", "numpy",
)  # fmt: skip
# Packages that are built for one torch. Other checks judge how these fit each other, and which setuptools torch needs.
TORCH_FAMILY = ("torch", "torchvision", "torchaudio", "xformers", "flash-attn", "triton", "triton-windows")


def judge(
    reading: Reading[Installed], torch: TorchFacts, identity: Identity, site: Reading[SitePackages]
) -> Finding:
    installed = value_of(reading)
    unmet = _unmet(installed, torch, identity, site)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="The requirements of torch and related packages are met",
        measured="; ".join(map(str, unmet)) or "every requirement is met",
        expected="every requirement is met",
        evidence=tuple(
            Evidence(
                source="metadata",
                name=f"{each.package} requires",
                value=f"{each.requirement}{each.specifier}",
            )
            for each in unmet
        ),
    )
    trouble = finding.but(status="warning", impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    if pin := _torch_pin(unmet, torch, identity):
        return trouble.but(**_replaces_torch(pin, value_of(torch.build), identity))
    if mixed := _mixed_flash_attention(installed, identity):
        return trouble.but(**mixed).but(links=(FLASH_ATTENTION_4,))
    if not unmet:
        return finding
    more = f" (and {len(unmet) - 1} more)" if len(unmet) > 1 else ""
    return trouble.but(summary=f"{unmet[0]}{more}", fix=_fix(unmet, identity))


def _torch_pin(unmet: list[Unmet], torch: TorchFacts, identity: Identity) -> Unmet | None:
    """The requirement for another torch that pip would meet with a CPU build: for Windows, PyPI has no other."""
    build = torch_is(torch)
    if build is None or build.cuda_tag is None or identity.os != "windows":
        return None
    return next((each for each in unmet if each.requirement == "torch"), None)


def _replaces_torch(pin: Unmet, build: TorchBuild, identity: Identity) -> FindingChanges:
    return {
        "summary": f"{pin.package} requires torch{pin.specifier}: pip's next run may replace {build} with a CPU build",
        "impact": "To meet this requirement pip takes torch from PyPI, which has only CPU builds for Windows.",
        "hint": f"Install a release of {pin.package} that accepts torch {build.release}, or uninstall it. Install packages that require torch with --no-deps.",
        "fix": Fix(
            id="remove-conflict",
            applicability="manual",
            reversible=False,
            commands=(for_this_python(identity, "pip", f"uninstall {pin.package}"),),
        ),
    }


def _unmet(
    installed: Installed, torch: TorchFacts, identity: Identity, site: Reading[SitePackages]
) -> list[Unmet]:
    """The unmet requirements of the packages that matter and of every package that requires torch.

    Requirements that other checks judge are left out, and so are packages that could not be read: they may be there.
    """
    versions = {name: package.version for name, package in installed.distributions.items()}
    environment = marker_environment(identity)
    unread = {each.package for each in site.value.damaged} if isinstance(site, Found) else set()
    if isinstance(torch.distribution, Unreadable):
        unread.add("torch")
    return [
        each
        for name, package in sorted(installed.distributions.items())
        for each in unmet_requirements(name, package.requires, versions, environment)
        if (name in MATTERING or each.requirement == "torch")
        and each.requirement not in unread
        and not (name in TORCH_FAMILY and each.requirement in (*TORCH_FAMILY, "setuptools"))
    ]


def marker_environment(identity: Identity) -> dict[str, str]:
    """The values of environment markers on that machine."""
    systems = {"windows": ("nt", "win32", "Windows"), "linux": ("posix", "linux", "Linux")}
    os_name, sys_platform, platform_system = systems.get(identity.os, ("posix", "darwin", "Darwin"))
    return {
        "os_name": os_name,
        "sys_platform": sys_platform,
        "platform_system": platform_system,
        "platform_machine": identity.architecture,
        "python_version": identity.python_minor,
        "python_full_version": identity.python,
        "implementation_name": identity.python_implementation.lower(),
        "platform_python_implementation": identity.python_implementation,
        "extra": "",
    }


def _mixed_flash_attention(installed: Installed, identity: Identity) -> FindingChanges | None:
    """Why FlashAttention-4 does not work with the installed packages."""
    new = installed.distributions.get("flash-attn-4")
    if new is None:
        return None
    files = installed.flash_attn_files
    if isinstance(files, Found) and "flash_attn/cute/" in files.value:
        old = installed.distributions["flash-attn"].version
        return {
            "summary": f"flash-attn {old} and flash-attn-4 {new.version} both contain the folder flash_attn/cute",
            "measured": "flash_attn/cute/ is in flash-attn's RECORD",
            "expected": "one package that contains it",
            "impact": "Each has overwritten files of the other: imports from flash_attn or flash_attn.cute fail.",
            "hint": "Uninstall both, then install the one that you use.",
        }
    if identity.os != "windows":
        return None
    oldest = cute_on_windows_from()
    for name in ("nvidia-cutlass-dsl-libs-base", "nvidia-cutlass-dsl"):
        package = installed.distributions.get(name)
        version = parse_version(package.version) if package else None
        if version and version < Version(oldest):
            return {
                "summary": f"flash-attn-4 {new.version} needs {name} {oldest} or newer on Windows; installed: {version}",
                "measured": f"{name} {version}",
                "expected": f"{name}>={oldest}",
                "impact": "Older releases have no libraries for Windows: \"No module named 'cutlass'\".",
                "hint": f"Upgrade {name}.",
            }
    return None


def _fix(unmet: list[Unmet], identity: Identity) -> Fix | None:
    """Safe only where packages are missing: another package may need the installed version of one that is there."""
    wanted: dict[str, list[str]] = {}
    for each in unmet:
        if each.requirement not in TORCH_FAMILY:
            wanted.setdefault(each.requirement, []).append(each.specifier)
    if not wanted:
        return None
    specifiers = {
        name: str(SpecifierSet(",".join(filter(None, required)))) for name, required in wanted.items()
    }
    fix = Fix(
        id="install-requirements",
        applicability="manual",
        commands=(pip_install(identity, specifiers),),
    )
    if not identity.in_virtual_environment or len(wanted) < len({each.requirement for each in unmet}):
        return fix
    missing_only = all(each.installed is None for each in unmet)
    install = InstallPackages(packages=tuple(specifiers), state=tuple(specifiers.values()))
    return fix.but(applicability="safe" if missing_only else "unsafe", actions=(install,))


def _flash_attn_files(installed: Reading[Installed]) -> Reading[str]:
    return value_of(installed).flash_attn_files


CHECK = Check(
    id="package-conflicts",
    group="packages",
    looks_at="The requirements of torch and its family, of transformers, safetensors and numpy, and of every package that requires torch, against what is installed; and FlashAttention-4 beside flash-attn.",
    why="A package beside the wrong release of another fails on import. When pip runs next, it may repair that by replacing torch.",
    by_hand="Install the missing packages. If two packages require different releases, upgrade the older one. Protect torch with `--no-deps`, or with a constraints file that names its exact version.",
    probes=(INSTALLED, TORCH, IDENTITY, SITE_PACKAGES),
    judge=judge,
    because_of=(torch_check.CHECK,),
    requires=(
        present(INSTALLED, "the installed packages"),
        readable(INSTALLED, "the files of flash-attn", _flash_attn_files),
    ),
)
