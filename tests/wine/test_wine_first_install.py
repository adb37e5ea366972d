"""`install.cmd` from an unpacked folder to a working doctor and working packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.doctor.install import stand_ins
from tests.doctor.install.loopback import Server, serving
from tests.wine.pretended_machine import removed_afterwards
from tests.wine.windows_box import HERE, REPOSITORY, Registry, Windows, Wine

tomllib = pytest.importorskip("tomllib")  # the script that makes the box has it
pytestmark = [pytest.mark.wine, pytest.mark.slow]

TAG = "cp311-cp311-win_amd64"
UNPACKED = (
    "aios.py",
    "doctor",
    "trainer",
    "wheels",
    "scripts",
    "configs",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
)
BUILDING = ("hatchling", "colorama", "tzdata")  # the last two are required on Windows only


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if "==" in line]
    return {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose index has the doctor's packages, and stand-ins for those of training."""
    folder = tmp_path_factory.mktemp("www")
    index = folder / "index"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    windows = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:"]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(index), *windows]
    constraints = ["--constraint", str(REPOSITORY / "constraints.txt")]
    subprocess.run([*pip, *constraints, *BUILDING, *project["dependencies"]], check=True)
    versions = pins()
    for name in (Requirement(text).name for text in project["optional-dependencies"]["train"]):
        if name != "torch":
            stand_ins.wheel(index, name, versions[name], {f"{name}.py": ""})
    stand_ins.torch(index, "2.15.0", None, tag=TAG)
    stand_ins.wheel(index, "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    with serving(folder) as server:
        yield server


@pytest.fixture
def unpacked(workplace: Path) -> Path:
    """The files of aios as downloaded."""
    folder = workplace / "aios & more"
    folder.mkdir()
    for source in (REPOSITORY / name for name in UNPACKED):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    return folder


def test_install_cmd_installs_everything_and_it_can_be_undone(
    windows: Windows, workplace: Path, unpacked: Path, server: Server, registry: Registry
) -> None:
    """`--yes` also fixes what the doctor finds; everything is undone at the end."""
    if not isinstance(windows, Wine):
        pytest.skip("needs the Wine box: a real machine is not changed")
    if not (windows.box.python / "Lib" / "venv").is_dir():
        pytest.skip("this box was made with another Python than 3.11 and cannot make environments")
    venv = workplace / "Zoë's env" / ".venv"
    state = {"AIOS_HOME": windows.path(workplace / "state"), "PYTHONPATH": ""}
    wishes = {
        "line": f'cmd /d /c scripts\\install.cmd "{windows.path(venv)}" --yes',
        "folder": windows.path(unpacked),
        "path": [windows.path(windows.box.python)],
        "variables": {**server.environment(), **state},
        "answer": "",
    }

    def install() -> str:
        done = windows.run(["python", windows.path(HERE / "run_cmd.py"), json.dumps(wishes)])
        assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
        return done.stdout.decode("utf-8", "replace")

    def aios(*arguments: str, status: Collection[int] = (0,)) -> str:
        done = windows.run([windows.path(venv / "Scripts" / "aios.exe"), *arguments], environment=state)
        assert done.returncode in status, (done.stdout + done.stderr).decode("utf-8", "replace")
        return done.stdout.decode("utf-8", "replace")

    before = registry.snapshot()
    with removed_afterwards(windows.box.drive_c / "Temp", windows.box.drive_c / "aios-cache"):
        said = install()
        assert "torch 2.15.0, new" in said
        assert "Installed and verified" in said
        assert "train --config configs/quickstart.yaml\r\n" in said
        installed = {file: file.stat().st_mtime_ns for file in venv.rglob("*")}
        assert venv / "Lib" / "site-packages" / "transformers.py" in installed
        assert "There is nothing to install." in install()
        assert {file: file.stat().st_mtime_ns for file in venv.rglob("*")} == installed
        assert "torch 2.15.0 for the CPU" in aios("doctor", "--only", "torch")
        assert "torch" in aios("install", "--undo")
        assert not (venv / "Lib" / "site-packages" / "torch").exists()
        assert registry.snapshot() != before
        aios("doctor", "undo", status=(0, 4))  # Wine's server may keep the new C:\\Temp open for a while
        assert registry.snapshot() == before
