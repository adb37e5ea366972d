"""Plan an installation: the exact file of each chosen package, and what it replaces."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.version import Version

from doctor.files import sha256_of
from doctor.host import Host
from doctor.host.web import content_length
from doctor.install.environment_facts import EnvironmentFacts
from doctor.install.install_answer import PackageAnswer
from doctor.install.kept_packages import distribution_name, keep_if_it_fits, without_refusals
from doctor.install.preconditions import why_too_long
from doctor.wheel_search.candidates import torch_wheels_in, with_known_hash
from doctor.wheel_search.install_error import InstallError
from doctor.wheel_search.package_index import (
    IndexFile,
    NotFoundError,
    files_in,
    files_on_index,
    newest_fitting,
)
from wheels.catalogue import Catalogue, Wheel
from wheels.choice import PYTORCH_INDEX, Choice, Item, none_fits
from wheels.compatibility import torch_default_cuda_tag, torch_longest_path
from wheels.machine import Machine, TorchBuild
from wheels.packages import OLDEST_TORCH, PACKAGES, TORCH_COMPANIONS, distribution_of, needed
from wheels.resolve import Resolution, resolve
from wheels.torch import why_unfit

# A distribution to install -> the one that contains the same files, and is uninstalled first
SAME_FILES = {"triton-windows": "triton"}
MIRROR = "AIOS_PYTORCH_INDEX"


@dataclass(frozen=True)
class Target:
    """A file to install. `sha256` None: pip checks the file against the hash on the user's index, if there is one.

    Attributes:
        labelled: only the file name states the full version, so pip must be given the file itself.
        index: PyTorch's index that it comes from; None: a known URL, or the user's index.
        url: the URL of the file; None: pip downloads it from the user's index, with its configuration.
        also: requirements of its dependencies that its metadata does not state.
        instead_of: why the user's index is used instead of PyTorch's.
    """

    package: str
    name: str  # normalized, of the distribution
    version: str
    filename: str
    url: str | None
    sha256: str | None
    size: int | None
    index: str | None = None
    labelled: bool = False
    also: tuple[str, ...] = ()
    instead_of: str = ""

    @property
    def file(self) -> Path | None:
        """The file, if it is on this machine."""
        if self.url is None or not self.url.startswith("file:"):
            return None
        return Path(url2pathname(urlsplit(self.url).path))


@dataclass(frozen=True)
class Installation:
    """Everything to install, and the decision for each requested package.

    `to_uninstall`: distributions (normalized names) to uninstall first, as a target contains the same files.
    """

    resolution: Resolution
    targets: tuple[Target, ...]
    packages: tuple[PackageAnswer, ...]
    to_uninstall: tuple[str, ...] = ()

    @property
    def nothing_fits(self) -> bool:
        return not any(answer.action in ("install", "keep") for answer in self.packages)


@dataclass(frozen=True)
class InstallRequest:
    """What to install. `folder`: a folder of wheels (--wheel-dir)."""

    packages: tuple[str, ...] = PACKAGES
    folder: Path | None = None
    offline: bool = False


def plan_installation(
    host: Host, facts: EnvironmentFacts, catalogue: Catalogue, request: InstallRequest
) -> Installation:
    """Choose the builds, and look up the URL, size and hash of each file. Raises InstallError."""
    resolution = _resolve(facts.machine, catalogue, request)
    choices = without_refusals(
        tuple(keep_if_it_fits(choice, resolution.torch, facts) for choice in resolution.choices),
        resolution,
        facts,
    )
    _check_length(choices, facts)
    answers, targets, final = [], [], []
    for choice in (*choices, *_companions(resolution, facts, catalogue, request)):
        target: Target | None = None
        if choice.item:
            try:
                target = _target(choice, host, facts.machine, request)
                why = () if target else _without_hash(choice)
            except NotFoundError as error:
                if choice.package == "torch":
                    raise
                why = (str(error),)
            choice = choice if target else none_fits(choice.package, *why)
        targets += [target] if target else []
        answers.append(_answer(choice, target, facts))
        final.append(choice)
    to_uninstall = tuple(name for target in targets if (name := _to_uninstall(target, facts)))
    older = [TorchBuild(Version(target.version), None) for target in targets if target.package == "torch"]
    torch = older[0] if older and facts.machine.has_no_gpu else resolution.torch
    resolution = replace(resolution, torch=torch, choices=tuple(final))
    return Installation(resolution, tuple(targets), tuple(answers), to_uninstall)


def _to_uninstall(target: Target, facts: EnvironmentFacts) -> str | None:
    name = SAME_FILES.get(target.name)
    return name if name in facts.installed else None


def _resolve(machine: Machine, catalogue: Catalogue, request: InstallRequest) -> Resolution:
    """Resolve the request. Offline, the newest torch in the folder that fits replaces the newest published one."""
    packages = needed(request.packages)
    resolution = resolve(machine, catalogue, packages)
    chosen = next((choice for choice in resolution.choices if choice.package == "torch"), None)
    if not request.offline or chosen is None or chosen.item is None:
        return resolution
    others = [package for package in packages if package != "torch"]
    for version, build in torch_wheels_in(request.folder, machine):
        if machine.has_no_gpu or why_unfit(build, machine) is None:
            reasons = (f"the newest in {request.folder} that fits", *chosen.reasons[1:])
            torch = Choice("torch", Item("torch", version, f"torch=={version}"), reasons)
            rest = resolve(replace(machine, torch=build), catalogue, others)
            return Resolution(build, (torch, *rest.choices))
    return resolution


def pytorch_index(host: Host, index: str | None) -> str | None:
    """Return the URL of PyTorch's index, or of the mirror that AIOS_PYTORCH_INDEX names."""
    mirror = host.variable(MIRROR)
    if not index or not mirror:
        return index
    return mirror.rstrip("/") + "/" + index.removeprefix(PYTORCH_INDEX)


def _check_length(choices: Collection[Choice], facts: EnvironmentFacts) -> None:
    for choice in choices:
        if choice.package == "torch" and choice.item:
            longest = torch_longest_path(Version(choice.item.version))
            too_long = why_too_long(facts, f"torch {choice.item.version}", longest or 0)
            if too_long:
                raise InstallError(too_long)


def _companions(
    resolution: Resolution, facts: EnvironmentFacts, catalogue: Catalogue, request: InstallRequest
) -> tuple[Choice, ...]:
    """Choose the torchvision, torchaudio and torchcodec for a new torch, if they are installed and not asked for."""
    torch = resolution.torch
    if torch is None or not any(choice.package == "torch" and choice.item for choice in resolution.choices):
        return ()
    names = [name for name in TORCH_COMPANIONS if name in facts.installed and name not in request.packages]
    return resolve(replace(facts.machine, torch=torch), catalogue, names).choices


def _target(choice: Choice, host: Host, machine: Machine, request: InstallRequest) -> Target | None:
    """Return the exact file; None: its publisher gives no hash to check it against."""
    assert choice.item is not None
    package, item, wheel = choice.package, choice.item, choice.item.wheel
    if wheel is not None and wheel.url is not None:
        if not wheel.url.startswith("file:"):
            wheel = with_known_hash(choice.match.wheels if choice.match else (wheel,))
        return _published(package, distribution_name(item), wheel) if wheel else None
    if request.folder and (found := newest_fitting(files_in(request.folder), item.requirement, machine)):
        return _listed(package, item, *found)
    if request.offline:
        raise NotFoundError(
            f"No {item.requirement} for Python {machine.python} in {request.folder or 'a folder of wheels'}. "
            f"Download it on a computer with network access from {item.index or 'your package index'}, "
            "and pass its folder with --wheel-dir."
        )
    index = pytorch_index(host, item.index)
    if index:
        try:
            files = files_on_index(index, distribution_name(item))
        except NotFoundError as error:
            if same := _same_build_on_own_index(package, item, machine):
                return replace(same, instead_of=str(error))
            raise
        found = newest_fitting(files, item.requirement, machine)
        if (
            found is None and package == "torch" and machine.has_no_gpu
        ):  # a mirror that is behind serves as well
            found = newest_fitting(files, f"torch>={OLDEST_TORCH},<={item.version}", machine)
        if found is None:
            raise NotFoundError(f"{index} has no {item.requirement} for Python {machine.python}")
        return _listed(package, item, *found, index=index) if found[0].sha256 else None
    return Target(
        package=package,
        name=distribution_name(item),
        version=item.version,
        filename=wheel.filename if wheel else "",
        url=None,
        sha256=wheel.sha256 if wheel else None,
        size=wheel.size if wheel else None,
        also=item.also,
    )


def _same_build_on_own_index(package: str, item: Item, machine: Machine) -> Target | None:
    """Return the target from pip's own index if its build serves as well: the same CUDA, or there is no GPU."""
    version = Version(item.version)
    tag = version.local if version.local != "cpu" else None
    if package != "torch" or not (
        machine.has_no_gpu or tag == torch_default_cuda_tag(version, machine.system)
    ):
        return None
    return Target(package, distribution_name(item), version.public, "", None, None, None, also=item.also)


def _listed(package: str, item: Item, file: IndexFile, version: Version, index: str | None = None) -> Target:
    target = Target(
        package,
        distribution_name(item),
        str(version),
        file.filename,
        file.url,
        file.sha256,
        None,
        index,
        also=item.also,
    )
    size = target.file.stat().st_size if target.file else content_length(file.url)
    return replace(target, size=size, sha256=sha256_of(target.file) if target.file else file.sha256)


def _published(package: str, name: str, wheel: Wheel) -> Target | None:
    if wheel.url is None:
        return None
    size = content_length(wheel.url) if wheel.size is None else wheel.size
    version = wheel.name.version
    return Target(package, name, version, wheel.filename, wheel.url, wheel.sha256, size, labelled=True)


def _without_hash(choice: Choice) -> tuple[str, ...]:
    wheel = choice.item.wheel if choice.item else None
    if wheel is None or wheel.url is None:
        return (f"the index gives no hash to check {choice.package} against",)
    return (
        f"{wheel.publisher.id} gives no hash to check {wheel.filename} against",
        f"to use it anyway, download {wheel.url} yourself into a folder and pass it: "
        f"aios install {choice.package.removesuffix('-windows')} --wheel-dir FOLDER",
    )


def _answer(choice: Choice, target: Target | None, facts: EnvironmentFacts) -> PackageAnswer:
    name = target.name if target else distribution_of(choice.package, facts.machine.system)
    there = facts.installed.get(name)
    version_before = there.version if there else None
    if name == "torch" and facts.machine.torch:
        version_before = facts.machine.torch.labelled
    if target is None:
        version = version_before if choice.kept else None
        return PackageAnswer(
            package=choice.package,
            action="keep" if choice.kept else "none",
            version=version,
            installed=version_before,
            reasons=choice.reasons,
        )
    reasons = choice.reasons
    if to_uninstall := _to_uninstall(target, facts):
        before = f"{to_uninstall} {facts.installed[to_uninstall].version}"
        reasons = (*reasons, f"replaces {before}, which contains the same files and is uninstalled first")
    return PackageAnswer(
        package=choice.package,
        action="install",
        version=target.version,
        installed=version_before,
        filename=target.filename or None,
        source=target.url or "the package index that pip is configured with",
        size=target.size,
        sha256=target.sha256,
        reasons=reasons,
    )
