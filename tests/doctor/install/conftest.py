"""A server and an environment for each test: the server is new, the environment is put back to how it was made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import Environment, make_environment
from tests.doctor.install.loopback import Server, serving


@pytest.fixture(scope="session")
def with_pip(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Made once: a `venv` takes seconds."""
    return make_environment(tmp_path_factory.mktemp("environment ż"))


@pytest.fixture(scope="module")
def made(with_pip: Environment) -> Environment:
    """A module that needs another one makes it."""
    return with_pip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Its indexes have torch for two CUDAs and for none, and what that needs."""
    folder = tmp_path / "www"
    stand_ins.torch(folder / "whl" / "cu130", "2.13.0+cu130", "13.0")
    stand_ins.torch(folder / "whl" / "cu126", "2.13.0+cu126", "12.6")
    stand_ins.torch(folder / "whl" / "cpu", "2.15.0", None)
    stand_ins.wheel(folder / "index", "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    stand_ins.wheel(folder / "index", "einops-stand-in", "1.0", {"einops_stand_in.py": "x = 1\n"})
    with serving(folder) as server:
        yield server


@pytest.fixture
def environment(made: Environment, server: Server) -> Iterator[Environment]:
    """With an RTX 4090 that the driver 581.80 drives; put back as it was made when the test is over."""
    made.variables = {}
    made.use(server)
    made.with_gpu()
    before = made.tree()
    if not made.spare.exists():
        shutil.copytree(made.venv, made.spare, symlinks=True)
    yield made
    shutil.rmtree(made.state, ignore_errors=True)
    if made.tree() != before:
        shutil.rmtree(made.venv)
        shutil.copytree(made.spare, made.venv, symlinks=True)
