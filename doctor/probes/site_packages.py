"""site-packages: unfinished installations in it, and every installed distribution."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.utils import canonicalize_name

from doctor.check import Probe
from doctor.host import Absent, Distribution, Found, Reader, Reading, RunningProgram, Unreadable
from doctor.probes.paths import join, parent
from doctor.probes.text_files import read_text

ASIDE = ".aios-removed"  # beside site-packages: on the same volume, and not importable
# By package: the folder it is imported from, and the distributions that provide it
FOLDERS = {
    "torch": ("torch", ("torch",)),
    "flash-attn": ("flash_attn", ("flash-attn", "flash-attn-4")),
    "xformers": ("xformers", ("xformers",)),
    "triton": (
        "triton",
        ("triton", "triton-windows", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu"),
    ),
}


@dataclass(frozen=True)
class Damage:
    """A package that is only partly installed; `what` says so in a clause."""

    package: str
    what: str


@dataclass(frozen=True)
class SitePackages:
    """Traces of unfinished installations.

    Attributes:
        remains: folders that pip renamed ("~orch") and could not remove.
        damaged: packages that are only partly installed.
        aside: the folder to move `remains` to.
        names_aside: names already in that folder.
        users: the programs using files of this environment; only collected if there are `remains`.
    """

    folder: str
    remains: tuple[str, ...]
    damaged: tuple[Damage, ...]
    aside: str
    names_aside: Reading[tuple[str, ...]]
    users: Reading[tuple[RunningProgram, ...]]


def _by_name(distributions: tuple[Distribution, ...]) -> dict[str, Distribution]:
    return {str(canonicalize_name(found.name)): found for found in distributions}


def _half_installed(
    host: Reader, folder: str, names: tuple[str, ...], installed: dict[str, Distribution]
) -> list[Damage]:
    damaged = []
    for package, (directory, owners) in FOLDERS.items():
        present = [found for name, found in installed.items() if name in owners]
        # Unreadable metadata does not count as missing
        without = not present and all(isinstance(host.distribution(name), Absent) for name in owners)
        if directory in names and without and _holds_files(host, join(host, folder, directory)):
            damaged.append(Damage(package, f"the folder {directory} exists, but its metadata is missing"))
        here = [found for found in present if found.location == folder and not _is_from_folder(found)]
        if directory not in names and here:
            damaged.append(Damage(package, f"its metadata exists, but the folder {directory} is missing"))
    return damaged


def _holds_files(host: Reader, folder: str) -> bool:
    """Whether the folder contains anything but Python's caches."""
    names = host.list_directory(folder)
    return isinstance(names, Found) and bool(set(names.value) - {"__pycache__"})


def _is_from_folder(distribution: Distribution) -> bool:
    """Whether it was installed from a local folder: an editable installation keeps its files there."""
    return (distribution.direct_url or "").startswith("file:")


def _without_name(host: Reader, folder: str, names: tuple[str, ...], known: set[str]) -> list[Damage]:
    """The .dist-info folders without a package name in METADATA."""
    damaged = []
    for name in names:
        project = canonicalize_name(name.partition("-")[0])
        if not name.endswith(".dist-info") or name.startswith("~") or project in known:
            continue
        metadata = host.read_file(join(host, folder, name, "METADATA"))
        if isinstance(metadata, Absent) or (isinstance(metadata, Found) and b"Name:" not in metadata.value):
            damaged.append(Damage(project, f"{name} has no METADATA"))
    return damaged


def _site_packages(host: Reader) -> Reading[SitePackages]:
    folder = host.identity.site_packages
    names, distributions = host.list_directory(folder), host.distributions()
    if not isinstance(names, Found):
        return Unreadable(f"{folder}: {names.reason if isinstance(names, Unreadable) else 'does not exist'}")
    if not isinstance(distributions, Found):
        return distributions
    remains = tuple(
        name
        for name in names.value
        if name.startswith("~") and isinstance(host.list_directory(join(host, folder, name)), Found)
    )
    installed = _by_name(distributions.value)
    nameless = _without_name(host, folder, names.value, set(installed))
    reported = {damage.package for damage in nameless}
    halves = _half_installed(host, folder, names.value, installed)
    aside = join(host, parent(host, folder), ASIDE)
    return Found(
        SitePackages(
            folder=folder,
            remains=remains,
            damaged=(*nameless, *(damage for damage in halves if damage.package not in reported)),
            aside=aside,
            names_aside=host.list_directory(aside) if remains else Absent(),
            users=host.programs_using(host.identity.prefix) if remains else Absent(),
        )
    )


@dataclass(frozen=True)
class Installed:
    """The installed distributions.

    Attributes:
        distributions: by normalized name.
        flash_attn_files: flash-attn's RECORD; Absent unless FlashAttention-4, which shares its folder, is installed too.
    """

    distributions: dict[str, Distribution]
    flash_attn_files: Reading[str]


def _installed(host: Reader) -> Reading[Installed]:
    found = host.distributions()
    if not isinstance(found, Found):
        return found
    distributions = _by_name(found.value)
    record: Reading[str] = Absent()
    if "flash-attn-4" in distributions and (flash_attn := distributions.get("flash-attn")):
        folder = f"flash_attn-{flash_attn.version}.dist-info"
        record = read_text(host, join(host, flash_attn.location, folder, "RECORD"))
    return Found(Installed(distributions, record))


SITE_PACKAGES = Probe("site-packages", _site_packages, timeout=20.0)
INSTALLED = Probe("distributions", _installed, timeout=20.0)
