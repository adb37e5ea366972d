"""`aios guard` with real updaters: pip from an index on loopback. `test_guard.py` has the other kinds of harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.elsewhere import Elsewhere
from tests.doctor.install.fresh_environment import Environment
from tests.doctor.install.loopback import Server

pytestmark = pytest.mark.skipif(os.name == "nt", reason="tests/wine has guard on Windows")

# Ends pip as soon as it has begun to remove the old torch
KILLED = """
import pathlib, subprocess, sys, time
packages, *command = sys.argv[1:]
pip = subprocess.Popen(command)
while pip.poll() is None and pathlib.Path(packages, "torch", "version.py").exists():
    time.sleep(0.001)
pip.kill()
"""


@pytest.fixture
def application(environment: Environment, server: Server, tmp_path: Path) -> Elsewhere:
    """An environment with pip, torch for CUDA and flash-attn; the index has newer ones, for the CPU."""
    wheels = tmp_path / "wheels"
    installed = (
        stand_ins.torch(wheels, "2.13.0+cu130", "13.0"), stand_ins.flash_attn(wheels, stand_ins.LABEL),
    )  # fmt: skip
    environment.pip("install", *map(str, installed))
    index = server.folder / "index"
    stand_ins.torch(index, "2.15.0", None)
    stand_ins.torch(index, "2.10.0", None)
    stand_ins.wheel(index, "other", "1.0", {"other.py": ""}, requires=["torch"])
    stand_ins.wheel(index, "xformers", "0.0.34", {"xformers/__init__.py": ""}, requires=["torch==2.10.0"])
    return Elsewhere(environment.folder, variables=environment.variables)


def guarded(application: Elsewhere, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command under guard; `environment.aios` would add --python after the command."""
    line = [sys.executable, "-m", "aios", "guard", "--yes", "--python", str(application.venv), "--", *command]
    return subprocess.run(line, env=application.all_variables(), capture_output=True, encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(("install", "xformers"), "torch lost CUDA", id="xformers downgrades torch"),
        pytest.param(("install", "-U", "torch"), "torch lost CUDA", id="torch", marks=pytest.mark.long),
        pytest.param(
            ("uninstall", "-y", "torch", "flash-attn"), "is gone", id="uninstall", marks=pytest.mark.long
        ),
        pytest.param(
            ("uninstall", "-y", "pip"), "pip", id="pip itself", marks=pytest.mark.long
        ),
    ],
)  # fmt: skip
def test_what_pip_replaced_is_put_back(application: Elsewhere, command: tuple[str, ...], said: str) -> None:
    before = application.tree()
    done = guarded(application, str(application.python), "-m", "pip", *command)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr and "The previous packages are restored." in done.stderr
    assert application.tree() == before


@pytest.mark.long
def test_a_pip_that_was_killed_is_undone(application: Elsewhere) -> None:
    before = application.tree()
    pip = [str(application.python), "-m", "pip", "install", "-U", "torch"]
    done = guarded(application, sys.executable, "-c", KILLED, str(application.site_packages), *pip)
    assert done.returncode == 1, done.stderr
    assert "torch 2.13.0+cu130" in done.stderr and "The previous packages are restored." in done.stderr
    assert application.tree() == before


def test_a_harmless_update_is_kept_with_its_exit_status(application: Elsewhere) -> None:
    pip = [str(application.python), "-m", "pip"]
    done = guarded(application, *pip, "install", "other")
    assert (done.returncode, "The command changed packages" in done.stderr) == (0, False), done.stderr
    assert application.version("other") == "1.0"
    assert not (application.venv / ".aios-kept").exists()
