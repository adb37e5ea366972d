"""`aios doctor --python` on Windows: ComfyUI portable's embeddable Python, and a virtual environment."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import tree_of
from tests.wine.test_wine_embeddable import WITH_SITE, make_embeddable
from tests.wine.windows_box import Aios, Windows, Wine

pytestmark = pytest.mark.wine


def report(aios: Aios, python: str) -> dict[str, Any]:
    checks = ("python-distribution", "virtual-environment", "torch-cuda-build")
    only = [part for check in checks for part in ("--only", check)]
    done = aios("doctor", "--python", python, "--json", *only)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_python_of_comfyui_portable_is_diagnosed(windows: Windows, workplace: Path, aios: Aios) -> None:
    """The folder of the application is given; the path has a space and letters outside the ANSI code page."""
    assert isinstance(windows, Wine)
    portable = workplace / "приложение ż" / "ComfyUI_windows_portable"
    embedded = portable / "python_embeded"
    portable.mkdir(parents=True)
    make_embeddable(windows, embedded, WITH_SITE)
    packages = embedded / "Lib" / "site-packages"
    (packages / "behind.pth").unlink()
    (packages / "sitecustomize.py").write_text("print('noise')\n", encoding="utf-8")
    with zipfile.ZipFile(stand_ins.torch(workplace / "wheels", "2.9.0+cpu", None)) as wheel:
        wheel.extractall(packages)
    before = tree_of(embedded)
    answer = report(aios, windows.path(portable))
    assert answer["machine"]["environment"] == windows.path(embedded / "python.exe")
    assert answer["machine"]["python"].startswith("3.11.")
    findings = {finding["check"]: finding for finding in answer["findings"]}
    assert (
        "2.9.0" in findings["torch-cuda-build"]["measured"]
        or findings["torch-cuda-build"]["status"] == "skipped"
    )
    assert findings["python-distribution"]["status"] != "unknown"
    assert tree_of(embedded) == before


def test_a_virtual_environment_is_diagnosed(windows: Windows, workplace: Path, aios: Aios) -> None:
    folder = workplace / "other env"
    windows.run(["python", "-m", "venv", "--without-pip", windows.path(folder)])
    answer = report(aios, windows.path(folder))
    findings = {finding["check"]: finding for finding in answer["findings"]}
    assert (
        answer["machine"]["environment"].casefold()
        == windows.path(folder / "Scripts" / "python.exe").casefold()
    )
    assert findings["virtual-environment"]["status"] == "ok"
    assert windows.path(folder) in findings["virtual-environment"]["summary"]
    gone = aios("doctor", "--python", windows.path(workplace / "nothing"))
    assert (gone.returncode, b"does not exist" in gone.stderr) == (2, True)
