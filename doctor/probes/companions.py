"""torchvision and torchaudio, read from their files: an import may be what is broken."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Distribution, Found, Host, Reading, Unreadable
from doctor.probes.paths import join


@dataclass(frozen=True)
class Companion:
    """A package that is built for one torch. `build`: what its version.py calls itself; the metadata lacks the "+cpu"."""

    distribution: Reading[Distribution]
    build: Reading[str]  # "0.28.0+cu130"; Absent: there is no such file


def parse_companion_version(text: str) -> Reading[str]:
    """torchvision/version.py or torchaudio/version.py, as text."""
    match = re.search(r"^__version__\b[^=]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return (
        Found(match.group(1)) if match else Unreadable(f"version.py states no version: {text.strip()[:60]!r}")
    )


def _companion(host: Host, package: str) -> Companion:
    distribution = host.distribution(package)
    if not isinstance(distribution, Found):
        return Companion(distribution, distribution)
    source = host.read_file(join(host, distribution.value.location, package, "version.py"))
    if not isinstance(source, Found):
        return Companion(distribution, source)
    return Companion(distribution, parse_companion_version(source.value.decode("utf-8", errors="replace")))


def _companions(host: Host) -> dict[str, Companion]:
    return {package: _companion(host, package) for package in ("torchvision", "torchaudio")}


COMPANIONS = Probe("companions", _companions)
