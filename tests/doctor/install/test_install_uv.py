"""Real installations in an environment that uv made, without pip: uv provides pip, and this Python runs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import uv

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import Environment, make_environment
from tests.doctor.install.loopback import Fault, Server
from tests.doctor.install.moments import journal_has, kill_when
from tests.doctor.install.stand_ins import LABEL


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment made by `uv venv`, with uv on PATH."""
    program = uv.find_uv_bin()
    folder = tmp_path_factory.mktemp("by uv ż")
    environment = make_environment(
        folder, program, "venv", "--quiet", "--offline", "--python", sys.executable
    )
    os.link(program, environment.programs / Path(program).name)
    return environment


@pytest.fixture
def environment(environment: Environment, server: Server, tmp_path: Path) -> Environment:
    """The environment with an empty uv cache and an index that has pip."""
    stand_ins.repacked("pip", server.folder / "index")
    environment.variables |= {
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_DEFAULT_INDEX": f"{server.address}/index/simple/",
        "UV_NO_CONFIG": "1",
    }
    assert environment.version("pip") is None
    return environment


def test_packages_are_installed_and_undone(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel])
    before = environment.tree()
    answer = environment.install("torch", "flash-attn")
    assert answer["status"] == "installed"
    assert sorted(answer["also"]) == ["einops-stand-in 1.0", "networkx-stand-in 1.0"]
    assert (environment.version("torch"), environment.version("flash_attn")) == ("2.14.1+cu130", "2.8.3")
    assert environment.version("pip") is None, "pip was run without being installed"
    assert environment.install("torch", "flash-attn")["status"] == "unchanged"
    environment.install("--undo")
    assert environment.tree() == before


def test_a_file_that_fails_a_check_changes_nothing(environment: Environment, server: Server) -> None:
    before = environment.tree()
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel])
    server.faults[wheel.name] = Fault(content=wheel.read_bytes()[:-1] + b"!")
    assert "expected SHA-256" in environment.install("torch", "flash-attn", status=1)["message"]
    server.faults[wheel.name] = Fault(breaks_off_after=10, times=99)
    assert "The download failed" in environment.install("torch", "flash-attn", status=1)["message"]
    assert environment.tree() == before


def test_a_package_that_does_not_work_is_removed(environment: Environment, server: Server) -> None:
    before = environment.tree()
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL, result=None)
    publish(environment.state, server, [wheel])
    answer = environment.install("torch", "flash-attn", status=4)
    assert (answer["status"], "DLL load failed" in answer["message"]) == ("rolled back", True)
    assert environment.tree() == before


def test_a_killed_installation_is_repaired(environment: Environment) -> None:
    """The pip from uv ends with aios, so that nothing writes afterwards."""
    before = environment.tree()
    kill_when(environment, journal_has(environment, "installing"), "torch")
    environment.install("--undo")
    assert environment.tree() == before


def test_the_pip_from_uv_checks_the_hash(environment: Environment, server: Server) -> None:
    """The file is changed after aios has checked it and before pip reads it."""
    before = environment.tree()
    name = f"torch-2.14.1+cu130-{stand_ins.NATIVE}.whl"
    fetched = environment.state / "downloads" / name

    def change(path: str) -> None:  # pip requests a dependency of torch, so torch itself was checked
        if "networkx" in path and fetched.exists():
            stand_ins.torch(fetched.parent, "2.14.1+cu130", "12.6")

    server.when_asked = change
    answer = environment.install("torch", status=4)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in answer["message"]
    assert environment.tree() == before


def test_offline_pip_is_run_from_a_wheel_in_the_folder(environment: Environment, server: Server) -> None:
    folder = server.folder / "wheels"
    stand_ins.torch(folder, "2.14.1+cu130", "13.0")
    stand_ins.wheel(folder, "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    refused = environment.install("torch", "--offline", "--wheel-dir", str(folder), status=1)
    assert "uv could not provide one" in refused["message"]
    assert "add pip's wheel to the folder of --wheel-dir" in refused["message"]
    stand_ins.repacked("pip", folder)
    assert environment.install("torch", "--offline", "--wheel-dir", str(folder))["status"] == "installed"
    assert server.asked == []


def test_without_uv_the_message_says_how_to_get_pip(environment: Environment) -> None:
    environment.variables["PATH"] = os.defpath
    said = environment.install("torch", "--dry-run", status=1)["message"]
    assert f'"{environment.python}" -m ensurepip' in said
