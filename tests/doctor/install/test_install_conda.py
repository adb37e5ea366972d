"""Environments made by conda: packages can be installed into them, but not into base."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.elsewhere import Elsewhere, install_and_undo
from tests.doctor.install.fresh_environment import Environment, add_aios, tree_of
from tests.doctor.install.loopback import Server
from tests.doctor.install.stand_ins import LABEL

if sys.platform != "linux":
    pytest.skip("rattler is a test dependency on Linux only", allow_module_level=True)

from tests.doctor.install.conda_packages import make_channel, make_environment


@dataclasses.dataclass
class CondaEnvironment(Environment):
    """An activated environment: it has the variables that `conda activate` sets."""

    @property
    def venv(self) -> Path:
        return self.folder / "envs" / "aios"

    def activate(self, prefix: Path, name: str) -> None:
        path = f"{prefix / 'bin'}:{self.programs}:/usr/bin:/bin"
        self.variables |= {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": name, "PATH": path}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CondaEnvironment:
    """A base environment with conda, and below it an environment with conda's torch."""
    folder = tmp_path_factory.mktemp("miniforge ż")
    channel = folder / "channel"
    make_channel(channel)
    environment = CondaEnvironment(folder / "base")
    environment.programs.mkdir(parents=True)
    make_environment(channel, environment.folder, "python", "pip", "conda")
    make_environment(channel, environment.venv, "python", "pip", "pytorch")
    add_aios(environment)
    return environment


def test_a_conda_environment_is_installed_into_and_restored(
    environment: CondaEnvironment, server: Server
) -> None:
    environment.activate(environment.venv, "aios")
    assert (environment.venv / "conda-meta" / "pytorch-2.12.0-0.json").is_file()
    publish(environment.state, server, [stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)])
    before, packages = environment.tree(), tree_of(environment.folder.with_name("cache"))
    answer = environment.install("torch", "flash-attn")
    assert (answer["status"], answer["python"]) == ("installed", str(environment.venv / "bin" / "python"))
    assert answer["packages"][0]["installed"] == "2.12.0+cpu"
    assert environment.version("torch") == "2.14.1+cu130"
    environment.install("--undo")
    assert environment.tree() == before
    assert tree_of(environment.folder.with_name("cache")) == packages, "conda's own files are links to these"


def test_a_conda_environment_is_installed_into_from_outside(
    environment: CondaEnvironment, server: Server
) -> None:
    """aios runs in its own Python, and no environment is activated."""
    packages = tree_of(environment.folder.with_name("cache"))
    install_and_undo(Elsewhere(environment.folder, name="envs/aios", named="envs/aios").ready(server), server)
    assert tree_of(environment.folder.with_name("cache")) == packages, "conda's own files are links to these"


def test_packages_in_the_user_folder_are_restored(
    environment: CondaEnvironment, server: Server, tmp_path: Path
) -> None:
    """Outside of virtual environments, pip also removes packages from the user's site-packages."""
    environment.activate(environment.venv, "aios")
    user = tmp_path / "user"
    environment.variables["PYTHONUSERBASE"] = str(user)
    old = stand_ins.flash_attn(tmp_path, "cu130torch2.12", metadata_version="2.8.2")
    environment.pip("install", "--user", "--no-deps", str(old))
    publish(environment.state, server, [stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)])
    before = environment.tree(), tree_of(user)
    environment.install("torch", "flash-attn")
    assert not list(user.rglob("flash_attn*")), "uninstalled"
    assert environment.version("flash-attn") == "2.8.3"
    environment.install("--undo")
    assert (environment.tree(), tree_of(user)) == before


def test_the_base_environment_is_refused(environment: CondaEnvironment) -> None:
    environment.activate(environment.folder, "base")
    before = tree_of(environment.folder / "lib")
    pointer = environment.site_packages / "behind.pth"
    path = {"PYTHONPATH": ":".join(pointer.read_text(encoding="utf-8").split("\n")).strip(":")}
    base = dataclasses.replace(environment, variables={**environment.variables, **path})
    done = base.aios("install", "--yes", "torch", python=environment.folder / "bin" / "python")
    assert done.returncode == 1
    assert "conda's base environment" in done.stdout
    assert "conda create -n aios python=" in done.stdout
    assert tree_of(environment.folder / "lib") == before
