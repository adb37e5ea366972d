"""Environments whose own code prints, sleeps, exits or raises: a diagnosis runs none of it, and an installation does not hang."""

from __future__ import annotations

import json
import os
import venv
import zipfile
from pathlib import Path

import pytest

from doctor.host.live import live_host
from doctor.host.other_python import find_python
from doctor.install import pip
from tests.doctor.calls import run
from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import tree_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the programs of these tests are shell scripts")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment with a torch, in a folder with a space and letters outside ASCII."""
    folder = tmp_path / "приложение ż" / "env"
    venv.create(folder)
    with zipfile.ZipFile(stand_ins.torch(tmp_path / "wheels", "2.14.1+cu130", "13.0")) as wheel:
        wheel.extractall(find_python(folder).site_packages)
    return folder


def customize(environment: Path, code: str) -> None:
    packages = Path(find_python(environment).site_packages)
    for name in ("sitecustomize.py", "usercustomize.py"):
        (packages / name).write_text(code, encoding="utf-8")
    (packages / "hostile.pth").write_text(f"import sys; exec({code!r})\n", encoding="utf-8")


def test_a_whole_diagnosis_runs_nothing_that_the_environment_brings(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what is in the current folder, or named by Python's variables. The backends are tried in that torch."""
    ran = tmp_path / "ran"
    hostile = f"open({str(ran)!r}, 'a').write('ran'); import time; time.sleep(600)\n"
    customize(environment, hostile)
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json.py", "site.py", "sitecustomize.py", "startup.py", "torch.py"):
        (here / name).write_text(hostile, encoding="utf-8")
    for name in ("python3", "python", "python.exe", "nvidia-smi", "git"):
        (here / name).write_text(f"#!/bin/sh\necho ran >> '{ran}'\nsleep 600\n", encoding="utf-8")
        (here / name).chmod(0o755)
    monkeypatch.chdir(here)
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "state"))
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.setenv(name, str(here))
    monkeypatch.setenv("PYTHONSTARTUP", str(here / "startup.py"))
    before = tree_of(environment)
    report = json.loads(run("--python", str(environment), "--offline", "--json").stdout)
    found = {each["check"]: each for each in report["findings"]}
    assert "2.14.1+cu130" in found["torch"]["measured"]
    assert "does not run with torch 2.14.1+cu130" in found["backend-sdpa"]["measured"], "a stand-in"
    assert not ran.exists()
    assert tree_of(environment) == before


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("print('noise')", None),
        ("raise ValueError(1)", None),
        ("import torch", None),
        ("import os; os._exit(7)", "it ends with exit code 7. Without its sitecustomize"),
        ("import time; time.sleep(60)", "did not answer within 1.5 s. Without its sitecustomize"),
    ],
)
def test_an_installation_says_why_pip_cannot_run_there(
    environment: Path, code: str, sentence: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    customize(environment, code)
    monkeypatch.setattr(pip, "START_TIMEOUT", 60.0 if sentence is None or "exit" in sentence else 1.5)
    said = pip.why_not_started(live_host(find_python(environment)))
    assert said is None if sentence is None else sentence in str(said)
