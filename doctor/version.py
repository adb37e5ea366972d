"""Which aios this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def aios_version() -> str:
    """The installed version; "unknown" where aios runs from a folder without being installed."""
    try:
        return version("aios")
    except PackageNotFoundError:
        return "unknown"
