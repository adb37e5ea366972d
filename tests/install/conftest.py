"""A server and an environment for each module; a test finds the environment as the one before it was supposed to leave it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_ins
from fresh_environment import Environment, make_environment
from loopback import Server, serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Made once: a `venv` takes seconds."""
    return make_environment(tmp_path_factory.mktemp("environment ż"))


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
def environment(made: Environment, server: Server, tmp_path: Path) -> Iterator[Environment]:
    """With an RTX 4090 that the driver 581.80 drives; put back as it was made when the test is over."""
    spare = tmp_path / "spare"
    shutil.copytree(made.venv, spare, symlinks=True)
    made.variables = {}
    made.use(server)
    made.with_gpu()
    yield made
    shutil.rmtree(made.venv)
    shutil.rmtree(made.state, ignore_errors=True)
    shutil.copytree(spare, made.venv, symlinks=True)
