"""Environments of other applications, into which aios installs from its own one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uv

from doctor.host.other_python import find_python
from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import Environment, Tree
from tests.doctor.install.loopback import Server

OF_PYENV = Path.home() / ".pyenv" / "versions"


@dataclass
class Elsewhere(Environment):
    """The environment of an application. aios runs in its own one, and `named` is what --python gets."""

    name: str = "env"
    named: str = "env"

    @property
    def venv(self) -> Path:
        return self.folder / self.name

    @property
    def site_packages(self) -> Path:
        return Path(find_python(self.venv).site_packages)

    def aios(self, *arguments: str, python: Path | None = None) -> subprocess.CompletedProcess[str]:
        where = ("--python", str(self.folder / self.named))
        return super().aios(*arguments, *where, python=python or Path(sys.executable))

    def finding(self, check: str) -> dict[str, Any]:
        """What `aios doctor` finds there."""
        answer = json.loads(self.aios("doctor", "--json", "--offline", "--only", check).stdout)
        assert answer["machine"]["environment"] == find_python(self.venv).executable
        [finding] = answer["findings"]
        return dict(finding)

    def ready(self, server: Server) -> Elsewhere:
        """Let aios use this server, and pretend an RTX 4090."""
        self.programs.mkdir(parents=True, exist_ok=True)
        self.use(server)
        self.with_gpu()
        return self


def own_packages() -> Tree:
    """The metadata of aios' own environment."""
    return {str(path): str(path.stat().st_mtime_ns) for path in Path(sysconfig.get_path("purelib")).iterdir()}


def python_of(version: str) -> Path:
    """The interpreter of that version on this machine: pyenv's, or one on PATH."""
    by_pyenv = sorted(OF_PYENV.glob(f"{version}.*/bin/python"))
    found = next(iter(by_pyenv), None) or shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"this machine has no Python {version}")
    return Path(found)


def make_venv(folder: Path, version: str, *options: str) -> None:
    subprocess.run([python_of(version), "-m", "venv", *options, folder], check=True)


def make_uv_venv(folder: Path) -> None:
    """Make an environment without pip, as `uv venv` does."""
    variables = {**os.environ, "UV_CACHE_DIR": str(folder.with_name("cache of uv"))}
    command = [uv.find_uv_bin(), "venv", "-q", "--offline", "--no-config", "--python", sys.executable]
    subprocess.run([*command, str(folder)], check=True, env=variables)


def install_and_undo(environment: Elsewhere, server: Server, torch: str = "2.14.1+cu130") -> None:
    """Diagnose, plan, install, verify and undo; the environment and that of aios are as before."""
    minor = "".join(find_python(environment.venv).python.split(".")[:2])
    tag = f"cp{minor}-cp{minor}-{stand_ins.PLATFORM}"
    cuda = torch.partition("+")[2]
    stand_ins.torch(server.folder / "whl" / cuda, torch, f"{cuda[2:4]}.{cuda[4:]}", tag=tag)
    label = f"{cuda}torch{'.'.join(torch.split('.')[:2])}cxx11abiTRUE"
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", label, tag=tag)
    publish(environment.state, server, [wheel])
    before, own = environment.tree(), own_packages()
    found = environment.finding("torch"), environment.install("--dry-run", "torch", "flash-attn")
    assert (found[1]["status"], environment.tree()) == ("planned", before)
    answer = environment.install("torch", "flash-attn")
    assert (answer["status"], answer["python"]) == ("installed", find_python(environment.venv).executable)
    assert (environment.version("torch"), environment.version("flash_attn")) == (torch, "2.8.3")
    assert torch in environment.finding("torch")["measured"] != found[0]["measured"]
    assert environment.install("--undo")["status"] == "undone"
    assert environment.tree() == before
    assert own_packages() == own
