"""`aios install` in a real Windows Python, from the same server and with the same guarantees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.loopback import Fault
from tests.wine.real_installation import TAG, Installation, copy_pip, installing
from tests.wine.windows_box import HERE, REPOSITORY, FakePrograms, Windows

pytestmark = pytest.mark.wine


@pytest.fixture
def installation(
    windows: Windows, workplace: Path, programs: FakePrograms, tmp_path: Path
) -> Iterator[Installation]:
    """An installation into a virtual environment with pip."""
    with installing(windows, workplace, programs, tmp_path / "www") as installation:
        installation.machine.make_environment(REPOSITORY)
        copy_pip(installation.machine.site_packages)
        yield installation


def test_packages_are_installed_and_undone(installation: Installation) -> None:
    installation.flash_attn()
    before = installation.tree()
    answer = installation.install("torch", "flash-attn")
    assert [(each["package"], each["version"]) for each in answer["packages"]] == [
        ("torch", "2.14.1+cu130"),
        ("flash-attn", "2.8.3"),
    ]
    after = installation.tree()
    assert {"Scripts/torchrun.exe", "Lib/site-packages/flash_attn/__init__.py"} <= after.keys()
    assert installation.install("torch", "flash-attn")["status"] == "unchanged"
    installation.install("--undo")
    assert installation.tree() == before


def test_an_old_triton_is_replaced_by_triton_windows_and_restored(
    installation: Installation, tmp_path: Path
) -> None:
    """Both contain the package `triton`: uninstalling the old one afterwards would delete files of the new one."""
    site = installation.machine.site_packages
    old = stand_ins.wheel(
        tmp_path, "triton", "3.2.0", {"triton/__init__.py": "", "triton/old.py": "x = 1\n"}, tag=TAG
    )
    done = installation.run("-m", "pip", "install", installation.machine.wine.path(old))
    assert done.returncode == 0, done.stderr
    new = stand_ins.wheel(
        installation.server.folder / "files" / "v1",
        "triton-windows",
        "3.8.0.post20",
        {"triton/__init__.py": "new = True\n"},
        tag=TAG,
    )
    publish(installation.state, installation.server, [new])
    before = installation.tree()
    answer = installation.install("torch", "triton")
    assert "replaces triton 3.2.0" in answer["packages"][1]["reasons"][-1]
    assert not list(site.glob("triton-3.2.0.dist-info"))
    assert not (site / "triton" / "old.py").exists()
    assert (site / "triton" / "__init__.py").read_text() == "new = True\n"
    assert installation.install("torch", "triton")["status"] == "unchanged"
    assert "triton 3.2.0" in installation.install("--undo")["message"]
    assert installation.tree() == before


@pytest.mark.long
def test_a_file_that_fails_a_check_changes_nothing(installation: Installation) -> None:
    before = installation.tree()
    wheel = installation.flash_attn()
    installation.server.faults[wheel.name] = Fault(content=wheel.read_bytes()[:-1] + b"!")
    assert "expected SHA-256" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.server.faults[wheel.name] = Fault(breaks_off_after=10, times=99)
    assert "The download failed" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.server.faults.clear()
    installation.flash_attn(inside="cp312-cp312-win_amd64")
    assert "cp312-cp312-win_amd64" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.flash_attn(requires=["torch==2.12.0"])
    stand_ins.torch(installation.server.folder / "index", "2.12.0", None, tag=TAG)
    assert "torch" in installation.install("torch", "flash-attn", status=1)["message"]
    installation.flash_attn(result=None)
    answer = installation.install("torch", "flash-attn", status=4)
    assert "DLL load failed" in answer["message"]
    installation.server.down = True
    assert "503" in installation.install("torch", status=1)["message"]
    assert installation.tree() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines", [pytest.param("1", id="keeping", marks=pytest.mark.long), pytest.param("2", id="installing")]
)
def test_a_killed_installation_is_repaired(installation: Installation, lines: str) -> None:
    installation.flash_attn()
    before = installation.tree()
    windows = installation.machine.wine
    journal = windows.path(installation.state) + "\\runs\\*\\install.jsonl"
    killed = ["python", windows.path(HERE / "kill_when_written.py"), journal, lines]
    ended = windows.run(
        [*killed, installation.python, "-m", "aios", "install", "--yes", "torch", "flash-attn"],
        **installation.options(),
    )
    assert ended.returncode == 0, ended.stderr.decode()
    installation.install("--undo")
    assert installation.tree() == before
    assert installation.install("torch", "flash-attn")["status"] == "installed"
