"""`aios install --python` in every kind of environment that people have: diagnosed, planned, installed, verified, undone.

`python scripts/run_tests.py -m "long or not long" tests/doctor/install/test_install_any_python.py` runs all of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.doctor.install.elsewhere import Elsewhere, install_and_undo, make_uv_venv, make_venv
from tests.doctor.install.loopback import Server

pytestmark = pytest.mark.skipif(os.name == "nt", reason="tests/wine has the Pythons of Windows")

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def environment(tmp_path: Path, server: Server) -> Elsewhere:
    """A machine with a GPU; the test makes the environment."""
    return Elsewhere(tmp_path / "приложение ż").ready(server)


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_python_of_the_environment_may_have_another_version(
    version: str, environment: Elsewhere, server: Server
) -> None:
    make_venv(environment.venv, version, "--without-pip")
    install_and_undo(environment, server)


def test_the_newest_torch_for_python_3_9_is_an_older_one(environment: Elsewhere, server: Server) -> None:
    make_venv(environment.venv, "3.9", "--without-pip")
    install_and_undo(environment, server, torch="2.8.0+cu126")


def test_no_torch_is_planned_for_python_3_8(environment: Elsewhere) -> None:
    """torch 2.4 was the last one for it."""
    make_venv(environment.venv, "3.8", "--without-pip")
    before = environment.tree()
    assert "is old" in environment.finding("python-version")["summary"]
    answer = environment.install("torch", status=1)
    assert answer["packages"][0]["reasons"] == [
        "no CUDA build of torch 2.6 or newer is known for Python 3.8 on linux_x86_64"
    ]
    assert environment.tree() == before


@pytest.mark.long
def test_the_pip_of_the_environment_is_used(environment: Elsewhere, server: Server) -> None:
    make_venv(environment.venv, OWN)
    assert environment.version("pip")
    install_and_undo(environment, server)


@pytest.mark.long
def test_an_environment_of_uv_needs_no_pip(environment: Elsewhere, server: Server) -> None:
    make_uv_venv(environment.venv)
    install_and_undo(environment, server)
