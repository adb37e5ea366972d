"""Paths of the machine that is looked at, which need not be the machine that looks."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath

from doctor.host import Host


def _path(host: Host, text: str) -> PurePath:
    return PureWindowsPath(text) if host.identity.os == "windows" else PurePosixPath(text)


def join(host: Host, folder: str, *names: str) -> str:
    """`folder/names...` as that machine spells it."""
    return str(_path(host, folder).joinpath(*names))


def parent(host: Host, path: str) -> str:
    return str(_path(host, path).parent)
