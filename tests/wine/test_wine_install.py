"""`aios install` on a real Windows Python: the same server, the same promises."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pretended_machine import PretendedMachine, removed_afterwards
from windows_box import HERE, REPOSITORY, Completed, FakePrograms, Windows, Wine

sys.path.insert(0, str(REPOSITORY / "tests" / "install"))

import stand_ins
from catalogues import publish
from loopback import Fault, Server, serving

pytestmark = pytest.mark.wine

TAG = "cp311-cp311-win_amd64"
LABEL = "cu130torch2.13"


@dataclass
class Installation:
    """An environment with pip of its own on a pretended machine with an RTX 4090, and the server that it may ask."""

    machine: PretendedMachine
    server: Server
    state: Path

    def aios(self, *arguments: str) -> Completed:
        windows = self.machine.wine
        python = windows.path(self.machine.venv / "Scripts" / "python.exe")
        return windows.run([python, "-m", "aios", "install", *arguments], timeout=300, **self.options())

    def options(self) -> dict[str, Any]:
        variables = {**self.server.environment(), "PIP_CONFIG_FILE": "nul", "PYTHONDONTWRITEBYTECODE": "1"}
        return {
            "environment": {"PYTHONPATH": "", **variables, **self.machine.environment},
            "programs": self.machine.programs.folder,
        }

    def install(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        done = self.aios("--json", *([] if "--undo" in arguments else ["--yes"]), *arguments)
        assert done.stdout, done.stderr.decode(errors="replace")
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == status, answer["message"]
        return answer

    def tree(self) -> dict[str, str]:
        """Every file and folder of the environment."""
        return {
            path.relative_to(self.machine.venv).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else ""
            for path in sorted(self.machine.venv.rglob("*"))
        }

    def flash_attn(self, **options: Any) -> Path:
        """Publish one for this Windows."""
        wheel = stand_ins.flash_attn(self.server.folder / "files" / "v1", LABEL, tag=TAG, **options)
        publish(self.state, self.server, [wheel])
        return wheel


@pytest.fixture
def installation(
    windows: Windows, workplace: Path, programs: FakePrograms, tmp_path: Path
) -> Iterator[Installation]:
    if not isinstance(windows, Wine):
        pytest.skip("a machine of one's own is not pretended to be another")
    folder = windows.box.drive_c / "pretended"
    with removed_afterwards(folder), serving(tmp_path / "www") as server:
        folder.mkdir()
        machine = PretendedMachine(windows, folder / "venv", programs)
        machine.make_environment(REPOSITORY)
        _bring_pip(machine.site_packages)
        machine.gpu("NVIDIA GeForce RTX 4090", "581.80", "8.9")
        state = workplace / "state"
        machine.environment["AIOS_HOME"] = windows.path(state)
        stand_ins.torch(server.folder / "whl" / "cu130", "2.13.0+cu130", "13.0", tag=TAG)
        for name in ("networkx-stand-in", "einops-stand-in"):
            stand_ins.wheel(server.folder / "index", name, "1.0", {f"{name.replace('-', '_')}.py": "x = 1\n"})
        yield Installation(machine, server, state)


def _bring_pip(site_packages: Path) -> None:
    """pip is the same files on all systems."""
    found = importlib.util.find_spec("pip")
    assert found and found.origin
    package = Path(found.origin).parent
    ignored = shutil.ignore_patterns("__pycache__")
    for part in (package, *package.parent.glob("pip-*.dist-info")):
        shutil.copytree(part, site_packages / part.name, ignore=ignored)


def test_success_and_back(installation: Installation) -> None:
    installation.flash_attn()
    before = installation.tree()
    answer = installation.install("torch", "flash-attn")
    assert [(each["package"], each["version"]) for each in answer["packages"]] == [
        ("torch", "2.13.0+cu130"),
        ("flash-attn", "2.8.3"),
    ]
    after = installation.tree()
    assert {"Scripts/torchrun.exe", "Lib/site-packages/flash_attn/__init__.py"} <= after.keys()
    assert installation.install("torch", "flash-attn")["status"] == "unchanged"
    installation.install("--undo")
    assert installation.tree() == before


def test_an_old_triton_goes_before_triton_windows_comes_and_comes_back(
    installation: Installation, tmp_path: Path
) -> None:
    """Both write the package `triton`: removed afterwards, the old one would take the new one's files along."""
    windows, site = installation.machine.wine, installation.machine.site_packages
    old = stand_ins.wheel(
        tmp_path, "triton", "3.2.0", {"triton/__init__.py": "", "triton/old.py": "x = 1\n"}, tag=TAG
    )
    pip = [windows.path(installation.machine.venv / "Scripts" / "python.exe"), "-m", "pip", "install"]
    done = windows.run([*pip, windows.path(old)], **installation.options())
    assert done.returncode == 0, done.stderr
    new = stand_ins.wheel(
        installation.server.folder / "files" / "v1",
        "triton-windows",
        "3.7.1.post20",
        {"triton/__init__.py": "new = True\n"},
        tag=TAG,
    )
    publish(installation.state, installation.server, [new])
    before = installation.tree()
    answer = installation.install("torch", "triton")
    assert "in the place of triton 3.2.0" in answer["packages"][1]["reasons"][-1]
    assert not list(site.glob("triton-3.2.0.dist-info"))
    assert not (site / "triton" / "old.py").exists()
    assert (site / "triton" / "__init__.py").read_text() == "new = True\n"
    assert installation.install("torch", "triton")["status"] == "unchanged"
    assert "triton 3.2.0" in installation.install("--undo")["message"]
    assert installation.tree() == before


@pytest.mark.slow
def test_what_is_not_right_changes_nothing(installation: Installation) -> None:
    before = installation.tree()
    wheel = installation.flash_attn()
    installation.server.faults[wheel.name] = Fault(content=wheel.read_bytes()[:-1] + b"!")
    assert "its SHA-256 should be" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.server.faults[wheel.name] = Fault(breaks_off_after=10, times=99)
    assert "did not come" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.server.faults.clear()
    installation.flash_attn(inside="cp312-cp312-win_amd64")
    assert "cp312-cp312-win_amd64" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.flash_attn(requires=["torch==2.12.0"])
    stand_ins.torch(installation.server.folder / "index", "2.12.0", None, tag=TAG)
    assert "torch" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.flash_attn(result=None)
    answer = installation.install("torch", "flash-attn", status=4)
    assert "DLL load failed" in answer["message"]
    installation.server.down = True
    assert "503" in installation.install("torch", status=1)["message"]
    assert installation.tree() == before


@pytest.mark.slow
@pytest.mark.parametrize("lines", ["2", "4"], ids=["keeping", "installing"])
def test_a_kill_is_put_right(installation: Installation, lines: str) -> None:
    installation.flash_attn()
    before = installation.tree()
    windows = installation.machine.wine
    python = windows.path(installation.machine.venv / "Scripts" / "python.exe")
    journal = windows.path(installation.state) + "\\runs\\*\\install.jsonl"
    killed = ["python", windows.path(HERE / "kill_when_written.py"), journal, lines]
    ended = windows.run(
        [*killed, python, "-m", "aios", "install", "--yes", "torch", "flash-attn"],
        timeout=300,
        **installation.options(),
    )
    assert ended.returncode == 0, ended.stderr.decode()
    installation.install("--undo")
    assert installation.tree() == before
    assert installation.install("torch", "flash-attn")["status"] == "installed"
