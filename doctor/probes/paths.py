"""Paths of the machine that is looked at, which need not be the machine that looks."""

from __future__ import annotations

import ntpath
import posixpath

from doctor.host import Host


def join(host: Host, folder: str, *names: str) -> str:
    """`folder/names...` as that machine spells it."""
    return (ntpath if host.identity.os == "windows" else posixpath).join(folder, *names)


def parent(host: Host, path: str) -> str:
    return (ntpath if host.identity.os == "windows" else posixpath).dirname(path)
