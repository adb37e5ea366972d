"""An installation that is killed at any moment is repaired by the next one, or by --undo."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import Environment, make_environment
from tests.doctor.install.loopback import Server
from tests.doctor.install.moments import PATIENCE, file_exists, journal_has, kill_when
from tests.doctor.install.stand_ins import LABEL


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with an older torch and flash-attn."""
    environment = make_environment(tmp_path_factory.mktemp("environment ż"))
    folder = environment.folder / "wheels"
    old = wheel_of_many_files(folder, "2.8.2+cu130torch2.12", "2.8.2")
    environment.pip("install", "--no-deps", str(old), str(stand_ins.torch(folder, "2.12.0", None)))
    return environment


def wheel_of_many_files(folder: Path, version: str, metadata_version: str, **more: str) -> Path:
    files = {f"flash_attn/part_{number}.py": f"value = {number}\n" for number in range(600)}
    files["flash_attn/__init__.py"] = stand_ins.FLASH_ATTN.format(result=1.0)
    return stand_ins.wheel(
        folder, "flash-attn", version, {**files, **more}, metadata_version=metadata_version,
        tag=stand_ins.NATIVE, requires=["torch"],
    )  # fmt: skip


@pytest.fixture
def with_older(environment: Environment, server: Server) -> Environment:
    """The environment with older packages, and a server that has newer ones."""
    folder = server.folder / "files" / "v1"
    new = wheel_of_many_files(folder, f"2.8.3+{LABEL}", "2.8.3", **{"flash_attn/new.py": "x = 1\n"})
    publish(environment.state, server, [new])
    return environment


@pytest.mark.parametrize(
    ("moment", "by"),
    [
        pytest.param("downloading", "the next installation", marks=pytest.mark.long),
        ("keeping", "--undo"),
        pytest.param("installing", "--undo", marks=pytest.mark.long),
        pytest.param("removing", "--undo", marks=pytest.mark.long),
        ("half there", "the next installation"),
        ("verifying", "--undo"),
    ],
)
def test_a_killed_installation_is_repaired(
    with_older: Environment, server: Server, moment: str, by: str
) -> None:
    environment, site = with_older, with_older.site_packages
    before = environment.tree()
    moments = {
        "downloading": file_exists(
            environment.state / "downloads" / f"torch-2.14.1+cu130-{stand_ins.NATIVE}.whl"
        ),
        "keeping": journal_has(environment, "keeping"),
        "installing": journal_has(environment, "installing"),
        "removing": lambda: any(site.glob("~*")) or not (site / "flash_attn-2.8.2.dist-info").exists(),
        "half there": file_exists(site / "flash_attn" / "new.py", site / "flash_attn-2.8.3.dist-info"),
        "verifying": lambda: (
            environment.version("torch") == "2.14.1+cu130"
            and (site / "flash_attn-2.8.3.dist-info" / "RECORD").exists()
        ),
    }
    kill_when(environment, moments[moment], "torch", "flash-attn")
    if by == "--undo":
        answer = environment.install("--undo")
        assert answer["status"] == "unchanged"
        assert environment.tree() == before
        return
    answer = environment.install("torch", "flash-attn")
    assert answer["status"] == "installed"
    environment.install("--undo")
    assert environment.tree() == before


def test_a_killed_repair_is_repaired(with_older: Environment) -> None:
    environment = with_older
    before = environment.tree()
    kill_when(environment, journal_has(environment, "installing"), "torch", "flash-attn")
    kill_when(environment, journal_has(environment, "putting back"), "torch", "flash-attn")
    environment.install("--undo")
    assert environment.tree() == before


@pytest.mark.skipif(os.name == "nt", reason="on Windows Ctrl-C is sent to a console")
def test_ctrl_c_restores_the_environment(with_older: Environment) -> None:
    before = with_older.tree()
    process = subprocess.Popen(
        with_older.command("install", "--yes", "torch", "flash-attn"),
        cwd=with_older.folder,
        env=with_older.all_variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begun = journal_has(with_older, "installing")
    while not begun():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert with_older.tree() == before


def test_a_package_changed_since_the_installation_is_not_undone(
    with_older: Environment, server: Server
) -> None:
    environment = with_older
    environment.install("torch", "flash-attn")
    environment.pip("install", "--no-deps", str(next((environment.folder / "wheels").glob("torch-*.whl"))))
    now = environment.tree()
    answer = environment.install("--undo", status=1)
    assert "torch has changed since the installation" in answer["message"]
    assert environment.tree() == now


def test_undo_works_with_copies_instead_of_hard_links(with_older: Environment) -> None:
    """A file system without hard links, simulated by copying the files of the store."""
    environment = with_older
    before = environment.tree()
    environment.install("torch", "flash-attn")
    store = next((environment.venv / ".aios-kept").iterdir())
    for copy in store.iterdir():
        shutil.copy2(copy, f"{copy}.new")
        Path(f"{copy}.new").replace(copy)
    environment.install("--undo")
    assert environment.tree() == before
