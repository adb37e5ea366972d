"""Which Pythons aios can run on: each reason is tested on a Python that is otherwise suitable."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
import suitable_python

SCRIPT = Path(suitable_python.__file__)


@pytest.fixture(autouse=True)
def suitable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this Python look like a 64-bit CPython 3.12 from python.org."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 4))
    monkeypatch.setattr(sys, "base_prefix", "/opt/python3.12")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: None)
    assert suitable_python.why_not() == ""


@pytest.mark.parametrize("version", [(3, 6, 9), (3, 9, 25), (3, 15, 0), (2, 7, 18)])
def test_another_version(version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert suitable_python.why_not() == "aios needs 3.10 to 3.14"


@pytest.mark.parametrize("minor", range(10, 15))
def test_these_versions_suit(minor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, minor, 0))
    assert suitable_python.why_not() == ""


def test_32_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win32")
    assert "win32" in suitable_python.why_not()


@pytest.mark.parametrize("platform", ["win-arm64", "mingw_x86_64_ucrt"])
def test_a_64_bit_platform_without_wheels(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suitable_python, "os", SimpleNamespace(name="nt", path=os.path))
    monkeypatch.setattr(sysconfig, "get_platform", lambda: platform)
    assert platform in suitable_python.why_not()
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-amd64")
    assert suitable_python.why_not() == ""


def test_another_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy"))
    assert "pypy" in suitable_python.why_not()


def test_the_free_threaded_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1 if name == "Py_GIL_DISABLED" else None)
    assert "free-threaded" in suitable_python.why_not()


def test_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    package = "PythonSoftwareFoundation.Python.3.12_3.12.2800.0_x64__qbz5n2kfra8p0"
    monkeypatch.setattr(sys, "base_prefix", f"C:\\Program Files\\WindowsApps\\{package}")
    assert "Store" in suitable_python.why_not()


def test_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert suitable_python.why_not() == ""
    (tmp_path / "conda-meta").mkdir()
    assert "conda" in suitable_python.why_not()


def test_debian_without_python3_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "ensurepip" in suitable_python.why_not()


def test_python_3_6_can_read_it() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_reason_is_one_line_of_ascii(tmp_path: Path) -> None:
    program = (
        "import runpy, sys; sys.base_prefix = 'C:\\\\Zoë'; sys.version_info = (3, 9, 1); "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stdout.rstrip() == rb"Python 3.9.1 in C:\Zo\xeb: aios needs 3.10 to 3.14"
