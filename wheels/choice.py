"""The build of one package to install, or the reason why none fits."""

from __future__ import annotations

from dataclasses import dataclass

from wheels.catalogue import Catalogue, Wheel
from wheels.compatibility_data import table
from wheels.match import Match

PYTORCH_INDEX = "https://download.pytorch.org/whl/"


@dataclass(frozen=True)
class Item:
    """One package to install: a known file, or the best match on an index.

    Attributes:
        requirement: the pip requirement to use if `wheel` has no URL: "torch==2.13.0+cu130".
        index: the package index to use; None: the one that pip is configured with.
        wheel: the file, if the catalogue lists it, with its URL, size and hash.
        also: requirements of its dependencies that its metadata does not state.
    """

    package: str
    version: str
    requirement: str
    index: str | None = None
    wheel: Wheel | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What was chosen of one package. `reasons` are clauses, the most important first.

    `item` None and not `kept`: no build fits.
    """

    package: str
    item: Item | None
    reasons: tuple[str, ...]
    kept: bool = False  # the installed build fits
    match: Match | None = None


def keep_installed(package: str, *reasons: str) -> Choice:
    return Choice(package, None, reasons, kept=True)


def none_fits(package: str, *reasons: str, match: Match | None = None) -> Choice:
    return Choice(package, None, reasons, match=match)


def listed(catalogue: Catalogue, package: str, platform: str) -> str:
    """Return how old the lists of a package's wheels are, and how to update them, as a clause."""
    update = "aios wheels refresh reads the current ones"
    newest = catalogue.newest_list(package, platform)
    if newest is None:
        return f"the lists of {package} wheels have no date; {update}"
    date, publisher = newest
    publisher = "the package index" if publisher == "package index" else publisher
    return f"the newest list of {package} wheels is that of {publisher} of {date}; {update}"


def known_on(part: str) -> str:
    """Return the date of a table in `compatibility.json`, as a clause."""
    return f"as known on {table()[part]['date']}"


def index_of(cuda_tag: str | None) -> str:
    """Return the URL of PyTorch's index for a CUDA tag; None: for CPU builds."""
    return PYTORCH_INDEX + (cuda_tag or "cpu")
