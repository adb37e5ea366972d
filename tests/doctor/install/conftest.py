"""A server and an environment for each test: the server is new, the environment is restored after the test."""

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
    """Made once, because a `venv` takes seconds."""
    return make_environment(tmp_path_factory.mktemp("environment ż"))


@pytest.fixture(scope="module")
def made(with_pip: Environment) -> Environment:
    """The environment to use. A module that needs another one overrides this."""
    return with_pip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose indexes have torch for two CUDA versions and for the CPU, with its dependencies."""
    folder = tmp_path / "www"
    stand_ins.torch(folder / "whl" / "cu130", "2.14.1+cu130", "13.0")
    stand_ins.torch(folder / "whl" / "cu126", "2.14.1+cu126", "12.6")
    stand_ins.torch(folder / "whl" / "cpu", "2.15.0", None)
    stand_ins.wheel(folder / "index", "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    stand_ins.wheel(folder / "index", "einops-stand-in", "1.0", {"einops_stand_in.py": "x = 1\n"})
    with serving(folder) as server:
        yield server


@pytest.fixture
def environment(made: Environment, server: Server) -> Iterator[Environment]:
    """The environment with an RTX 4090 and driver 581.80; restored after the test."""
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
