"""The distribution that aios is installed as, and its version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "aios-doctor"  # "aios" on PyPI is another project


def aios_version() -> str:
    """Return the installed version; "unknown" if aios runs from a folder without being installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
