"""A Python that cannot serve gives one finding, not one for everything that is missing on its account."""

from __future__ import annotations

from typing import Any

import pytest
from cases import patched

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.recorded import RecordedHost

STORE = r"C:\Program Files\WindowsApps\PythonSoftwareFoundation.Python.3.12_3.12.2544.0_x64__qbz5n2kfra8p0"
STORE_PACKAGES = (
    r"C:\Users\user\AppData\Local\Packages\PythonSoftwareFoundation.Python.3.12_qbz5n2kfra8p0"
    r"\LocalCache\local-packages\Python312\site-packages"
)
LONG_PATHS_OFF = {r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem": {"LongPathsEnabled": None}}
WITHOUT_PACKAGES = {"torch": None, "flash-attn": None, "xformers": None, "triton-windows": None}


def judged(patch: dict[str, Any]) -> dict[str, str | None]:
    """What each failing check fails for: None for itself."""
    findings = diagnose(RecordedHost(patched("windows-rtx4090", patch)), CHECKS).findings
    return {f.check: f.because_of for f in findings if f.because_of or f.status in ("error", "warning")}


@pytest.mark.parametrize(
    ("identity", "cause"),
    [
        ({"python_bits": 32, "python_platform": "win32"}, "python-architecture"),
        ({"architecture": "ARM64", "python_platform": "win_arm64"}, "python-architecture"),
        ({"python": "3.9.13"}, "python-version"),
    ],
)
def test_torch_is_missing_because_of_the_python(identity: dict[str, Any], cause: str) -> None:
    found = judged({"identity": identity, "distributions": WITHOUT_PACKAGES})
    assert found[cause] is None
    assert found["torch"] == cause


def test_a_store_python_is_why_the_path_is_too_long() -> None:
    store = {"prefix": STORE, "base_prefix": STORE, "site_packages": STORE_PACKAGES}
    found = judged({"identity": store, "registry": LONG_PATHS_OFF})
    assert found["python-distribution"] is None
    assert found["install-path"] == "python-distribution"
