"""Packages beside torch, read from their files, because importing them may be what fails."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Distribution, Found, Reader, Reading, Unreadable
from doctor.probes.dll_copies import path_folders
from doctor.probes.dll_imports import library_folders
from doctor.probes.paths import join
from doctor.probes.text_files import read_text, stated_version

BITSANDBYTES_LIBRARY = re.compile(r"libbitsandbytes_cuda(\d{3})\.(?:dll|so)")
FFMPEG_LIBRARY = re.compile(r"avcodec-\d+\.dll", re.IGNORECASE)


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


@dataclass(frozen=True)
class CompanionLibraries:
    """The libraries that packages beside torch load by name.

    Attributes:
        bitsandbytes: the CUDA tags of its libraries, such as "cu128"; Absent if it is not installed.
        bitsandbytes_cuda: the variable that names another of them.
        ffmpeg: where torchcodec finds FFmpeg on Windows; Absent if nowhere, and on other systems.
    """

    bitsandbytes: Reading[tuple[str, ...]]
    bitsandbytes_cuda: str | None
    ffmpeg: Reading[str]


def _libraries(host: Reader) -> CompanionLibraries:
    distribution = host.distribution("bitsandbytes")
    names: Reading[tuple[str, ...]] = Absent()
    if isinstance(distribution, Found):
        names = host.list_directory(join(host, distribution.value.location, "bitsandbytes"))
    if isinstance(names, Found):
        names = Found(
            tuple(f"cu{found[1]}" for found in map(BITSANDBYTES_LIBRARY.fullmatch, names.value) if found)
        )
    return CompanionLibraries(names, host.variable("BNB_CUDA_VERSION"), _ffmpeg(host))


def _ffmpeg(host: Reader) -> Reading[str]:
    if host.identity.os != "windows" or not isinstance(host.distribution("torchcodec"), Found):
        return Absent()
    for folder in (*path_folders(host), *library_folders(host)):
        names = host.list_directory(folder)
        if isinstance(names, Found) and any(map(FFMPEG_LIBRARY.fullmatch, names.value)):
            return Found(folder)
    return Absent()


COMPANIONS = Probe("companions", _companions)
COMPANION_LIBRARIES = Probe("companion-libraries", _libraries, timeout=20.0)
