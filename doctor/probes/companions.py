"""torchvision and torchaudio, read from their files, because importing them may be what fails."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Distribution, Found, Reader, Reading, Unreadable
from doctor.probes.paths import join
from doctor.probes.text_files import read_text, stated_version


@dataclass(frozen=True)
class Companion:
    """A package that is compiled for one torch release.

    Attributes:
        distribution: the installed distribution. Its metadata lacks the local version, such as "+cpu".
        build: the version in its version.py, such as "0.28.0+cu130"; Absent without that file.
    """

    distribution: Reading[Distribution]
    build: Reading[str]


def parse_companion_version(text: str) -> Reading[str]:
    """Return the version stated in torchvision/version.py or torchaudio/version.py."""
    version = stated_version(text)
    return Found(version) if version else Unreadable(f"version.py states no version: {text.strip()[:60]!r}")


def _companion(host: Reader, package: str) -> Companion:
    distribution = host.distribution(package)
    if not isinstance(distribution, Found):
        return Companion(distribution, distribution)
    source = read_text(host, join(host, distribution.value.location, package, "version.py"))
    build = parse_companion_version(source.value) if isinstance(source, Found) else source
    return Companion(distribution, build)


def _companions(host: Reader) -> dict[str, Companion]:
    return {package: _companion(host, package) for package in ("torchvision", "torchaudio")}


COMPANIONS = Probe("companions", _companions)
