"""What is to be installed of one package, or why nothing is."""

from __future__ import annotations

from dataclasses import dataclass

from wheels.catalogue import Wheel
from wheels.match import Match

PYTORCH_INDEX = "https://download.pytorch.org/whl/"


@dataclass(frozen=True)
class Item:
    """One package to install: a known file, or the best that an index has for a requirement.

    Attributes:
        requirement: what pip is asked for where `wheel` has no address: "torch==2.13.0+cu130".
        index: where from; None: the package index that pip is set up to use.
        wheel: the file, where it is known: its address, size and hash.
    """

    package: str
    version: str
    requirement: str
    index: str | None = None
    wheel: Wheel | None = None


@dataclass(frozen=True)
class Verdict:
    """`item` None and `kept` False: nothing of this package fits. `reasons` are clauses, the most important one first."""

    package: str
    item: Item | None
    reasons: tuple[str, ...]
    kept: bool = False  # what is installed fits
    match: Match | None = None


def kept(package: str, *reasons: str) -> Verdict:
    return Verdict(package, None, reasons, kept=True)


def nothing(package: str, *reasons: str, match: Match | None = None) -> Verdict:
    return Verdict(package, None, reasons, match=match)


def index_of(cuda_tag: str | None) -> str:
    """PyTorch's own index for a CUDA tag; None: for the processor."""
    return PYTORCH_INDEX + (cuda_tag or "cpu")
