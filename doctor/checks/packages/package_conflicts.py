"""Do the packages that matter get what they ask for, and would pip's next run take the CUDA build of torch away?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from doctor.actions import InstallPackages
from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.shared import could_not_look, for_this_python, pip_install, torch_is, why_not
from doctor.host import Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.site_packages import INSTALLED, SITE_PACKAGES, Installed, SitePackages
from doctor.probes.system import IDENTITY
from wheels.companions import cute_on_windows_from
from wheels.compatibility import parse_version
from wheels.machine import TorchBuild
from wheels.requirements import Unmet, unmet_requirements

LINK = "https://pip.pypa.io/en/stable/topics/dependency-resolution/"
FLASH_ATTENTION_4 = "https://github.com/Dao-AILab/flash-attention"
MATTERING = (
    "aios-doctor", "torch", "torchvision", "torchaudio", "xformers", "flash-attn", "flash-attn-4", "triton", "triton-windows",
    "transformers", "tokenizers", "safetensors", "huggingface-hub", "accelerate", "bitsandbytes", "numpy",
)  # fmt: skip
# Packages that are built for one torch. How they fit each other, and torch setuptools, is for other checks to say.
TORCH_FAMILY = ("torch", "torchvision", "torchaudio", "xformers", "flash-attn", "triton", "triton-windows")


def judge(
    reading: Reading[Installed], torch: TorchFacts, identity: Identity, site: Reading[SitePackages]
) -> Finding:
    if not isinstance(reading, Found):
        return could_not_look(CHECK.id, "the installed packages", why_not(reading))
    installed = reading.value
    if isinstance(installed.flash_attn_files, Unreadable):
        return could_not_look(CHECK.id, "the files of flash-attn", installed.flash_attn_files.reason)
    unmet = _unmet(installed, torch, identity, site)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="The packages that matter get what they ask for",
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
    trouble = finding.model_copy(
        update={"status": "warning", "impact": CHECK.why, "hint": CHECK.by_hand, "links": (LINK,)}
    )
    this = torch_is(torch)
    if this and this.cuda_tag and identity.os == "windows":
        for each in unmet:
            if each.requirement == "torch":
                return trouble.model_copy(update=_swapped(each, this, identity))
    if mixed := _mixed_flash_attention(installed, identity):
        return trouble.model_copy(update={**mixed, "links": (FLASH_ATTENTION_4,)})
    if not unmet:
        return finding
    more = f" (and {len(unmet) - 1} more)" if len(unmet) > 1 else ""
    return trouble.model_copy(update={"summary": f"{unmet[0]}{more}", "fix": _fix(unmet, identity)})


def _swapped(pin: Unmet, this: TorchBuild, identity: Identity) -> dict[str, object]:
    """What to say where pip would meet a requirement by another torch."""
    return {
        "summary": f"{pin.package} asks for torch{pin.specifier}: pip's next run may replace {this} by a CPU build",
        "impact": "Where pip meets this requirement it takes torch from the package index, which has CPU builds alone for Windows.",
        "hint": f"Take a release of {pin.package} that accepts torch {this.release}, or remove it; install beside torch with --no-deps.",
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
    """Unmet requirements of what matters, and of anything that asks for torch; less what other checks judge.

    What could not be seen is not missing.
    """
    versions = {name: found.version for name, found in installed.distributions.items()}
    environment = _environment(identity)
    unseen = {each.package for each in site.value.damaged} if isinstance(site, Found) else set()
    if isinstance(torch.distribution, Unreadable):
        unseen.add("torch")
    return [
        each
        for name, found in sorted(installed.distributions.items())
        for each in unmet_requirements(name, found.requires, versions, environment)
        if (name in MATTERING or each.requirement == "torch")
        and each.requirement not in unseen
        and not (name in TORCH_FAMILY and each.requirement in (*TORCH_FAMILY, "setuptools"))
    ]


def _environment(identity: Identity) -> dict[str, str]:
    """The values of environment markers on that machine."""
    windows, linux = identity.os == "windows", identity.os == "linux"
    return {
        "os_name": "nt" if windows else "posix",
        "sys_platform": "win32" if windows else "linux" if linux else "darwin",
        "platform_system": "Windows" if windows else "Linux" if linux else "Darwin",
        "platform_machine": identity.architecture,
        "python_version": identity.python_minor,
        "python_full_version": identity.python,
        "implementation_name": identity.python_implementation.lower(),
        "platform_python_implementation": identity.python_implementation,
        "extra": "",
    }


def _mixed_flash_attention(installed: Installed, identity: Identity) -> dict[str, object] | None:
    """Why FlashAttention-4 cannot be used beside what is there."""
    new = installed.distributions.get("flash-attn-4")
    if new is None:
        return None
    if (
        isinstance(installed.flash_attn_files, Found)
        and "flash_attn/cute/" in installed.flash_attn_files.value
    ):
        old = installed.distributions["flash-attn"].version
        return {
            "summary": f"flash-attn {old} and flash-attn-4 {new.version} both bring the folder flash_attn/cute",
            "measured": "flash_attn/cute/ is in flash-attn's RECORD",
            "expected": "one package that brings it",
            "impact": "Each overwrites files of the other: imports from flash_attn or flash_attn.cute fail.",
            "hint": "Uninstall both, then install the one that you use.",
        }
    wanted = cute_on_windows_from()
    for name in ("nvidia-cutlass-dsl-libs-base", "nvidia-cutlass-dsl"):
        dsl = installed.distributions.get(name)
        version = parse_version(dsl.version) if dsl else None
        if identity.os == "windows" and version and version < Version(wanted):
            return {
                "summary": f"flash-attn-4 {new.version} needs {name} {wanted} or newer on Windows; there is {version}",
                "measured": f"{name} {version}",
                "expected": f"{name}>={wanted}",
                "impact": "Older releases have no libraries for Windows: \"No module named 'cutlass'\".",
                "hint": f"Upgrade {name}.",
            }
    return None


def _fix(unmet: list[Unmet], identity: Identity) -> Fix | None:
    """Install what is missing; another version of what is there may be the wrong one for somebody else."""
    wanted: dict[str, list[str]] = {}
    for each in unmet:
        if each.requirement not in TORCH_FAMILY:
            wanted.setdefault(each.requirement, []).append(each.specifier)
    if not wanted:
        return None
    specifiers = {name: str(SpecifierSet(",".join(filter(None, every)))) for name, every in wanted.items()}
    fix = Fix(
        id="install-requirements",
        applicability="manual",
        commands=(pip_install(identity, specifiers),),
    )
    if not identity.in_virtual_environment or len(wanted) < len({each.requirement for each in unmet}):
        return fix
    missing_only = all(each.installed is None for each in unmet)
    install = InstallPackages(packages=tuple(specifiers), state=tuple(specifiers.values()))
    return fix.model_copy(
        update={"applicability": "safe" if missing_only else "unsafe", "actions": (install,)}
    )


CHECK = Check(
    id="package-conflicts",
    group="packages",
    looks_at="What torch and its family, transformers, safetensors, numpy and whatever asks for torch say that they require, against what is installed; and FlashAttention-4 beside flash-attn.",
    why="A package beside the wrong release of another fails when it is imported; and pip, asked for anything else, may repair that by replacing torch.",
    by_hand="Install the missing packages; where two packages want different releases, upgrade the one that is behind. Keep torch with `--no-deps` or with a constraints file that names its exact version.",
    probes=(INSTALLED, TORCH, IDENTITY, SITE_PACKAGES),
    judge=judge,
    because_of=(torch_check.CHECK,),
)
