"""Exactly the requested packages are installed, with the pip of this Python."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from doctor.host import Absent, Completed, Found, Host, Reading
from doctor.host.set_packages import set_packages

WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(folder: Path, name: str, version: str, requires: str) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {requires}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", WHEEL)
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site-packages of a separate environment, with the pip of this one and an index of two versions of one package."""
    pytest.importorskip("pip")
    for version in ("1.0", "2.0"):
        make_wheel(tmp_path, "aios_probe", version, "aios-not-there")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    places = {"base": str(environment), "platbase": str(environment)}
    folder = Path(sysconfig.get_path("purelib", "venv", places))
    (folder / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    python = Path(sysconfig.get_path("scripts", "venv", places)) / Path(sys.executable).name
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return folder


def installed(site_packages: Path) -> list[str]:
    return [path.name for path in site_packages.glob("aios*.dist-info")]


def test_install_replace_and_remove(
    host: Host, site_packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.set_packages({"aios-probe": "<2"})
    assert installed(site_packages) == ["aios_probe-1.0.dist-info"]
    host.set_packages({"aios-probe": "==2.0"})
    assert installed(site_packages) == ["aios_probe-2.0.dist-info"]
    host.set_packages({"aios-probe": None})
    assert installed(site_packages) == []
    printed = capsys.readouterr()
    assert printed.out == "" and "aios-probe" in printed.err.replace("_", "-")


def test_a_version_that_does_not_exist_fails_with_the_error_of_pip(host: Host, site_packages: Path) -> None:
    with pytest.raises(OSError, match=r"install.*No matching distribution found for aios-probe"):
        host.set_packages({"aios-probe": "==3"})
    assert installed(site_packages) == []


class Installer:
    """Stands in for the programs of a machine, and records the command lines."""

    def __init__(self, answer: Reading[Completed]) -> None:
        self.answer = answer
        self.lines: list[Sequence[str]] = []

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str]
    ) -> Reading[Completed]:
        self.lines.append(command)
        return self.answer


@pytest.mark.parametrize("name", ["torch", "Torch"])
def test_torch_is_never_touched(name: str) -> None:
    installer = Installer(Found(Completed(exit_code=0)))
    for specifier in ("==2.9.1", None):
        with pytest.raises(OSError, match="does not replace it"):
            set_packages(installer.run, {"ninja": "", name: specifier})
    assert installer.lines == []


@pytest.fixture
def _without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("_without_pip")
def test_without_pip_uv_is_used() -> None:
    installer = Installer(Found(Completed(exit_code=0)))
    set_packages(installer.run, {"ninja": ">=1.11", "old": None})
    assert installer.lines == [
        ["uv", "pip", "install", "--python", sys.executable, "--no-deps", "ninja>=1.11"],
        ["uv", "pip", "uninstall", "--python", sys.executable, "old"],
    ]


@pytest.mark.usefixtures("_without_pip")
def test_without_pip_and_uv_the_error_says_how_to_install_pip() -> None:
    with pytest.raises(OSError, match="ensurepip"):
        set_packages(Installer(Absent()).run, {"ninja": ""})
