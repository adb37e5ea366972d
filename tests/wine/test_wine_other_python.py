"""Other Pythons on Windows: ComfyUI portable's embeddable Python, and virtual environments."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import tree_of
from tests.wine.real_installation import Installation, copy_pip, installing
from tests.wine.test_wine_embeddable import WITH_SITE, make_embeddable
from tests.wine.windows_box import REPOSITORY, Aios, Completed, FakePrograms, Windows, Wine

pytestmark = pytest.mark.wine


def report(aios: Aios, python: str) -> dict[str, Any]:
    checks = ("python-distribution", "virtual-environment", "torch-cuda-build")
    only = [part for check in checks for part in ("--only", check)]
    done = aios("doctor", "--python", python, "--json", *only)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@dataclass
class Elsewhere(Installation):
    """The environment of an application. aios runs in the Python of the box, and `named` is what --python gets."""

    named: str = ""

    def aios(self, command: str, *arguments: str, status: int = 0) -> Completed:
        line = ["python", "-m", "aios", *command.split(), "--python", self.named, *arguments]
        done = self.machine.wine.run(line, timeout=300, **self.options())
        assert done.returncode == status, (done.stdout + done.stderr).decode(errors="replace")
        return done

    def options(self) -> dict[str, Any]:
        found = super().options()
        return {
            **found,
            "environment": {**found["environment"], "PYTHONPATH": self.machine.wine.path(REPOSITORY)},
        }

    def install(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        yes = [] if {"--undo", "--dry-run"}.intersection(arguments) else ["--yes"]
        answer: dict[str, Any] = json.loads(
            self.aios("install", "--json", *yes, *arguments, status=status).stdout
        )
        return answer


def make_portable(windows: Wine, embedded: Path) -> None:
    """Make ComfyUI portable's Python: embeddable, with a pip of its own, without the packages of the box."""
    embedded.parent.mkdir(parents=True)
    make_embeddable(windows, embedded, WITH_SITE)
    (embedded / "Lib" / "site-packages" / "behind.pth").unlink()
    copy_pip(embedded / "Lib" / "site-packages")


def make_environment(windows: Wine, embedded: Path, folder: Path) -> None:
    """Make a virtual environment of an embeddable Python, as virtualenv does: with copies of its files except ._pth, and with pip."""
    (folder / "Lib" / "site-packages").mkdir(parents=True)
    shutil.copytree(embedded, folder / "Scripts", ignore=shutil.ignore_patterns("Lib", "*._pth", "*.cat"))
    (folder / "pyvenv.cfg").write_text(
        f"home = {windows.path(embedded)}\ninclude-system-site-packages = false\nversion = 3.11.9\n", "utf-8"
    )
    copy_pip(folder / "Lib" / "site-packages")


@contextmanager
def elsewhere(
    windows: Windows, workplace: Path, programs: FakePrograms, www: Path, kind: str
) -> Iterator[Elsewhere]:
    """An application in a folder with a space and letters outside the ANSI code page, and the server."""
    with installing(windows, workplace, programs, www) as made:
        wine = made.machine.wine
        portable = workplace / "приложение ż" / "ComfyUI_windows_portable"
        make_portable(wine, portable / "python_embeded")
        venv, named = portable / "python_embeded", portable
        if kind == "environment":
            venv = named = workplace / "среда" / "venv"
            make_environment(wine, portable / "python_embeded", venv)
        made.machine.venv = venv
        inside = "Scripts" if kind == "environment" else ""
        yield Elsewhere(made.machine, made.server, made.state, inside, wine.path(named))


@pytest.mark.parametrize("kind", ["portable", pytest.param("environment", marks=pytest.mark.long)])
def test_packages_are_installed_guarded_and_undone(
    kind: str, windows: Windows, workplace: Path, programs: FakePrograms, tmp_path: Path
) -> None:
    """`environment`: one of that embeddable Python."""
    with elsewhere(windows, workplace, programs, tmp_path / "www", kind) as there:
        there.flash_attn()
        before, box = tree_of(there.machine.venv), metadata_of_the_box(there.machine.wine)
        assert there.install("--dry-run", "torch", "flash-attn")["status"] == "planned"
        answer = there.install("torch", "flash-attn")
        assert (answer["status"], answer["python"]) == ("installed", there.python)
        installed = there.tree()
        assert {"Scripts/torchrun.exe", "Lib/site-packages/flash_attn/__init__.py"} <= installed.keys()
        init = there.machine.wine.path(there.machine.site_packages / "torch" / "__init__.py")
        harm = f"import os; os.remove({init!r}); open({init.replace('__init__', 'new')!r}, 'w').close()"
        said = there.aios("guard", "--yes", "--", there.python, "-c", harm, status=1).stderr
        assert b"The previous packages are restored." in said
        assert there.tree() == installed
        assert there.install("--undo")["status"] == "undone"
        assert tree_of(there.machine.venv) == before
        assert metadata_of_the_box(there.machine.wine) == box


def metadata_of_the_box(wine: Wine) -> dict[str, int]:
    packages = wine.box.python / "Lib" / "site-packages"
    return {path.name: path.stat().st_mtime_ns for path in packages.iterdir()}


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
