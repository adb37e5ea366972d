"""`aios install` in a real Windows Python: the Python, its package server, and its installed files."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import tree_of
from tests.doctor.install.loopback import Server, serving
from tests.wine.pretended_machine import PretendedMachine, removed_afterwards
from tests.wine.windows_box import Completed, FakePrograms, Windows, Wine

TAG = "cp311-cp311-win_amd64"
LABEL = "cu130torch2.14"


@dataclass
class Installation:
    """A Python on a simulated machine with an RTX 4090, and its package server. `inside`: the folder of python.exe."""

    machine: PretendedMachine
    server: Server
    state: Path
    inside: str = "Scripts"

    @property
    def python(self) -> str:
        return self.machine.wine.path(self.machine.venv / self.inside / "python.exe")

    def run(self, *arguments: str) -> Completed:
        return self.machine.wine.run([self.python, *arguments], **self.options())

    def options(self) -> dict[str, Any]:
        variables = {**self.server.environment(), "PIP_CONFIG_FILE": "nul", "PYTHONDONTWRITEBYTECODE": "1"}
        return {
            "environment": {"PYTHONPATH": "", **variables, **self.machine.environment},
            "programs": self.machine.programs.folder,
        }

    def install(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        done = self.run(
            "-m", "aios", "install", "--json", *([] if "--undo" in arguments else ["--yes"]), *arguments
        )
        assert done.stdout, done.stderr.decode(errors="replace")
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == status, answer["message"]
        return answer

    def tree(self) -> dict[str, str]:
        """Every file and folder of the environment except compiled Python files."""
        return {
            name: content for name, content in tree_of(self.machine.venv).items() if "__pycache__" not in name
        }

    def flash_attn(self, **options: Any) -> Path:
        """Publish a flash-attn for this Windows."""
        wheel = stand_ins.flash_attn(self.server.folder / "files" / "v1", LABEL, tag=TAG, **options)
        publish(self.state, self.server, [wheel])
        return wheel


@contextmanager
def installing(
    windows: Windows, workplace: Path, programs: FakePrograms, www: Path, inside: str = "Scripts"
) -> Iterator[Installation]:
    """A machine with a GPU, and a server with torch and its dependencies; the caller adds a Python."""
    if not isinstance(windows, Wine):
        pytest.skip("needs the Wine box: a real machine is not made to look like another")
    folder = windows.box.drive_c / "pretended"
    with removed_afterwards(folder), serving(www) as server:
        folder.mkdir()
        machine = PretendedMachine(windows, folder / "venv", programs)
        machine.gpu("NVIDIA GeForce RTX 4090", "581.80", "8.9")
        state = workplace / "state"
        machine.environment["AIOS_HOME"] = windows.path(state)
        stand_ins.torch(server.folder / "whl" / "cu130", "2.14.1+cu130", "13.0", tag=TAG)
        for name in ("networkx-stand-in", "einops-stand-in"):
            stand_ins.wheel(server.folder / "index", name, "1.0", {f"{name.replace('-', '_')}.py": "x = 1\n"})
        yield Installation(machine, server, state, inside)


def copy_pip(site_packages: Path) -> None:
    """Copy pip, whose files are the same on all systems."""
    found = importlib.util.find_spec("pip")
    assert found and found.origin
    package = Path(found.origin).parent
    for part in (package, *package.parent.glob("pip-*.dist-info")):
        shutil.copytree(part, site_packages / part.name)
