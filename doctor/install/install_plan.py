"""What is installed, from which file, and what it replaces: the resolver's verdicts made exact."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from doctor.files import sha256_of
from doctor.host import Found, Host
from doctor.host.web import content_length
from doctor.install.environment_facts import Facts
from doctor.install.install_answer import PackageAnswer
from doctor.install.preconditions import why_too_long
from doctor.wheel_search.candidates import torches_in, with_known_hash
from doctor.wheel_search.install_error import InstallError
from doctor.wheel_search.package_index import Listed, NotFoundError, best, files_in, listed_by
from wheels.catalogue import Catalogue, Wheel
from wheels.choice import PYTORCH_INDEX, Item, Verdict, index_of, kept, nothing
from wheels.companions import companion_requirement
from wheels.compatibility import parse_flash_attn, parse_version, torch_longest_path
from wheels.machine import Machine, TorchBuild
from wheels.packages import PACKAGES, TORCH_COMPANIONS, distribution_of
from wheels.resolve import InstallPlan, plan
from wheels.torch import why_not

SAME_FILES = {
    "triton-windows": "triton"
}  # two distributions of one package: the second goes before the first comes
MIRROR = "AIOS_PYTORCH_INDEX"


@dataclass(frozen=True)
class Target:
    """A file to install. `sha256` None: pip checks it against what the user's own index says, if anything.

    Attributes:
        labelled: is its version said in full by its file name alone? Then pip must be given the file itself.
        index: PyTorch's own index that it comes from; None: a known address, or the user's index.
        url: of the file; None: only pip can fetch it, as it knows the way into the user's index.
    """

    package: str
    name: str  # normalised, of the distribution
    version: str
    filename: str
    url: str | None
    sha256: str | None
    size: int | None
    index: str | None = None
    labelled: bool = False

    @property
    def file(self) -> Path | None:
        """Where it lies on this machine already."""
        if self.url is None or not self.url.startswith("file:"):
            return None
        return Path(url2pathname(urlsplit(self.url).path))


@dataclass(frozen=True)
class Installation:
    """Everything to install, and what was decided for every package that was asked for.

    `superseded`: what is uninstalled first, by normalised name, since a target has files of the same names.
    """

    plan: InstallPlan
    targets: tuple[Target, ...]
    packages: tuple[PackageAnswer, ...]
    superseded: tuple[str, ...] = ()

    @property
    def nothing_fits(self) -> bool:
        return not any(answer.action in ("install", "keep") for answer in self.packages)


@dataclass(frozen=True)
class Wishes:
    """What the caller asked for."""

    packages: tuple[str, ...] = PACKAGES
    folder: Path | None = None
    offline: bool = False


def prepare(host: Host, facts: Facts, catalogue: Catalogue, wishes: Wishes) -> Installation:
    """Decide, and find each file's address, size and hash. Raises InstallError."""
    decided = _decide(facts.machine, catalogue, wishes)
    verdicts = tuple(_unless_there(verdict, decided.torch, facts) for verdict in decided.verdicts)
    _check_length(verdicts, facts)
    answers, targets, final = [], [], []
    for verdict in (*verdicts, *_companions(decided, facts)):
        target: Target | None = None
        if verdict.item:
            try:
                target = _target(verdict, host, facts.machine, wishes)
                why = () if target else _without_hash(verdict)
            except NotFoundError as error:
                if verdict.package == "torch":
                    raise
                why = (str(error),)
            verdict = verdict if target else nothing(verdict.package, *why)
        targets += [target] if target else []
        answers.append(_answer(verdict, target, facts))
        final.append(verdict)
    superseded = tuple(name for target in targets if (name := _superseded(target, facts)))
    return Installation(replace(decided, verdicts=tuple(final)), tuple(targets), tuple(answers), superseded)


def _superseded(target: Target, facts: Facts) -> str | None:
    name = SAME_FILES.get(target.name)
    return name if name in facts.installed else None


def _decide(machine: Machine, catalogue: Catalogue, wishes: Wishes) -> InstallPlan:
    """What the resolver says. Without a network the best torch is the best of those in the folder."""
    decided = plan(machine, catalogue, wishes.packages)
    chosen = next((verdict for verdict in decided.verdicts if verdict.package == "torch"), None)
    if not wishes.offline or chosen is None or chosen.item is None:
        return decided
    others = [package for package in wishes.packages if package != "torch"]
    for version, build in torches_in(wishes.folder, machine):
        if machine.has_no_gpu or why_not(build, machine) is None:
            reasons = (f"the newest in {wishes.folder} that fits", *chosen.reasons[1:])
            torch = Verdict("torch", Item("torch", version, f"torch=={version}"), reasons)
            rest = plan(replace(machine, torch=build), catalogue, others)
            return InstallPlan(build, (torch, *rest.verdicts))
    return decided


def pytorch_index(host: Host, index: str | None) -> str | None:
    """The address of PyTorch's own index, or of the mirror that AIOS_PYTORCH_INDEX names in its place."""
    mirror = host.variable(MIRROR)
    if not index or not mirror:
        return index
    return mirror.rstrip("/") + "/" + index.removeprefix(PYTORCH_INDEX)


def _unless_there(verdict: Verdict, torch: TorchBuild | None, facts: Facts) -> Verdict:
    """A package that is there already, for this torch, is kept; not one that its own check finds broken."""
    item = verdict.item
    there = facts.installed.get(_distribution(item)) if item else None
    package = verdict.package.removesuffix("-windows")  # as its check is called
    if item is None or there is None or torch is None or package in facts.broken:
        return verdict
    version, wanted = parse_version(there.version), Version(item.version)
    if version is None or Version(version.public) < Version(wanted.public):
        return verdict
    if package == "flash-attn":
        build = parse_flash_attn(there.version, there.direct_url)
        cuda = torch.cuda[0] if torch.cuda else None
        fits = (build.torch, build.cuda_major) == (torch.minor, cuda)
    elif package == "xformers":
        fits = (
            isinstance(facts.xformers.build, Found)
            and facts.xformers.build.value.cuda == torch.cuda
            and Version(version.public) == Version(wanted.public)
        )
    else:
        fits = package == "triton" and version == wanted
    return kept(verdict.package, f"{there.version} is there, for {torch}") if fits else verdict


def _distribution(item: Item) -> str:
    """The normalised name of what pip installs: triton-windows for Triton."""
    return str(canonicalize_name(Requirement(item.requirement).name))


def _check_length(verdicts: Collection[Verdict], facts: Facts) -> None:
    for verdict in verdicts:
        if verdict.package == "torch" and verdict.item:
            longest = torch_longest_path(Version(verdict.item.version))
            too_long = why_too_long(facts, f"torch {verdict.item.version}", longest or 0)
            if too_long:
                raise InstallError(too_long)


def _companions(decided: InstallPlan, facts: Facts) -> tuple[Verdict, ...]:
    """torchvision and torchaudio are made for one torch: where they are there, they go with a new one."""
    torch = decided.torch
    if torch is None or not any(verdict.package == "torch" and verdict.item for verdict in decided.verdicts):
        return ()
    found = []
    for package in TORCH_COMPANIONS:
        wanted = companion_requirement(package, torch.version)
        if wanted and package in facts.installed:
            item = Item(package, wanted, f"{package}{wanted}", index_of(torch.cuda_tag))
            found.append(Verdict(package, item, (f"is made for torch {torch.minor}",)))
    return tuple(found)


def _target(verdict: Verdict, host: Host, machine: Machine, wishes: Wishes) -> Target | None:
    """The exact file; None: its publisher gives no hash that it could be checked against."""
    assert verdict.item is not None
    package, item, wheel = verdict.package, verdict.item, verdict.item.wheel
    if wheel is not None and wheel.url is not None:
        if not wheel.url.startswith("file:"):
            wheel = with_known_hash(verdict.match.wheels if verdict.match else (wheel,))
        return _published(package, _distribution(item), wheel) if wheel else None
    if wishes.folder and (found := best(files_in(wishes.folder), item.requirement, machine)):
        return _listed(package, item, *found)
    if wishes.offline:
        raise NotFoundError(
            f"{wishes.folder or 'Without a network, and without --wheel-dir, there'} has no {item.requirement} "
            f"for Python {machine.python}. Download it where there is a network, from "
            f"{item.index or 'your package index'}, and give its folder with --wheel-dir."
        )
    index = pytorch_index(host, item.index)
    if index:
        found = best(listed_by(index, _distribution(item)), item.requirement, machine)
        if found is None:
            raise NotFoundError(f"{index} has no {item.requirement} for Python {machine.python}")
        return _listed(package, item, *found, index=index) if found[0].sha256 else None
    return Target(
        package=package,
        name=_distribution(item),
        version=item.version,
        filename=wheel.filename if wheel else "",
        url=None,
        sha256=wheel.sha256 if wheel else None,
        size=wheel.size if wheel else None,
    )


def _listed(package: str, item: Item, file: Listed, version: Version, index: str | None = None) -> Target:
    target = Target(
        package, _distribution(item), str(version), file.filename, file.url, file.sha256, None, index
    )
    size = target.file.stat().st_size if target.file else content_length(file.url)
    return replace(target, size=size, sha256=sha256_of(target.file) if target.file else file.sha256)


def _published(package: str, name: str, wheel: Wheel) -> Target | None:
    if wheel.url is None:
        return None
    size = content_length(wheel.url) if wheel.size is None else wheel.size
    version = wheel.name.version
    return Target(package, name, version, wheel.filename, wheel.url, wheel.sha256, size, labelled=True)


def _without_hash(verdict: Verdict) -> tuple[str, ...]:
    wheel = verdict.item.wheel if verdict.item else None
    if wheel is None or wheel.url is None:
        return (f"the index gives no hash that {verdict.package} could be checked against",)
    return (
        f"{wheel.publisher.id} gives no hash that {wheel.filename} could be checked against",
        f"who trusts it downloads {wheel.url} into a folder, and gives that: "
        f"aios install {verdict.package.removesuffix('-windows')} --wheel-dir FOLDER",
    )


def _answer(verdict: Verdict, target: Target | None, facts: Facts) -> PackageAnswer:
    name = target.name if target else distribution_of(verdict.package, facts.machine.system)
    there = facts.installed.get(name)
    shown = there.version if there else None
    if name == "torch" and facts.machine.torch:
        shown = facts.machine.torch.labelled
    if target is None:
        version = shown if verdict.kept else None
        return PackageAnswer(
            package=verdict.package,
            action="keep" if verdict.kept else "none",
            version=version,
            installed=shown,
            reasons=verdict.reasons,
        )
    reasons = verdict.reasons
    if superseded := _superseded(target, facts):
        before = f"{superseded} {facts.installed[superseded].version}"
        reasons = (*reasons, f"in the place of {before}, which has files of the same names, and is removed")
    return PackageAnswer(
        package=verdict.package,
        action="install",
        version=target.version,
        installed=shown,
        filename=target.filename or None,
        source=target.url or "the package index that pip is set up with",
        size=target.size,
        sha256=target.sha256,
        reasons=reasons,
    )
