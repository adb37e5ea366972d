"""`aios guard`: packages are restored byte for byte after ten harmful updaters, and left alone after harmless ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.commands.guard import Guard
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.other_python import find_python
from doctor.install import protected_files, protection
from doctor.install.interrupted import repair_interrupted
from doctor.install.transaction import undo
from doctor.report.console import Printer
from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import tree_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="tests/wine has the embeddable Python")

Updater = Callable[[Path, Path], int]  # site-packages, the folder of wheels


def unpack(wheel: Path, packages: Path) -> None:
    """As an archive is unpacked over an installation: existing files are written in place."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            target = packages / member
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.write(archive.read(member))


def remove(packages: Path, name: str) -> None:
    for path in packages.glob(f"{name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    stand_ins.torch(folder, "2.13.0+cu130", "13.0")
    stand_ins.flash_attn(folder, stand_ins.LABEL)
    stand_ins.wheel(folder, "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    stand_ins.wheel(
        folder, "pip", "25.0", {"pip/__init__.py": "__version__ = '25.0'\n", "pip/_internal.py": ""}
    )
    return folder


@pytest.fixture
def packages(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "state"))
    return install(tmp_path / "приложение ż" / "env", wheels)


def install(folder: Path, wheels: Path) -> Path:
    """Make an environment with the packages of these wheels, as pip does; return its site-packages."""
    venv.create(folder)
    found = Path(find_python(folder).site_packages)
    for wheel in wheels.glob("*.whl"):
        unpack(wheel, found)
    (found / "torch" / "__pycache__").mkdir()
    (found / "torch" / "__pycache__" / "version.cpython-311.pyc").write_bytes(b"compiled")
    return found


@pytest.fixture
def host(packages: Path) -> Host:
    return live_host(find_python(packages.parents[2]))


@pytest.fixture
def guarded(packages: Path, wheels: Path, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run an updater under guard; return the exit status."""

    def run(updater: Updater, *, yes: bool = True) -> int:
        scratch = tmp_path / "scratch"
        monkeypatch.setattr(Guard, "_call", lambda self, command: updater(packages, scratch))
        return Guard(host, yes, wheels, Printer(sys.stderr)).run(["updater"])

    return run


def cpu_torch(packages: Path, scratch: Path) -> int:
    remove(packages, "torch")
    unpack(stand_ins.torch(scratch, "2.15.0", None), packages)
    return 0


def torch_downgraded_by_xformers(packages: Path, scratch: Path) -> int:
    remove(packages, "torch")
    unpack(stand_ins.torch(scratch, "2.10.0+cu126", "12.6"), packages)
    unpack(stand_ins.wheel(scratch, "xformers", "0.0.34", {"xformers/__init__.py": "x = 1\n"}), packages)
    return 0


def a_file_removed(packages: Path, scratch: Path) -> int:
    (packages / "torch" / "nn" / "functional.py").unlink()
    return 0


def half_an_install(packages: Path, scratch: Path) -> int:
    shutil.rmtree(packages / "torch-2.13.0+cu130.dist-info")
    (packages / "torch" / "nn" / "attention.py").unlink()
    (packages / "torch" / "new.py").write_text("x = 1\n", "utf-8")
    (packages / "torch-2.14.0.dist-info").mkdir()
    (packages / "torch-2.14.0.dist-info" / "METADATA").write_text("Name: torch\n", "utf-8")
    return 1


def killed_in_the_middle(packages: Path, scratch: Path) -> int:
    (packages / "torch").rename(packages / "~orch")
    (packages / "torch-2.13.0+cu130.dist-info").rename(packages / "~orch-2.13.0+cu130.dist-info")
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text("", "utf-8")
    return -9


def pip_itself_broken(packages: Path, scratch: Path) -> int:
    shutil.rmtree(packages / "pip")
    return 1


def written_in_place(packages: Path, scratch: Path) -> int:
    """A zip unpacked over it: a hard link changes, too."""
    with (packages / "torch" / "__init__.py").open("wb") as file:
        file.write(b"# another file\n")
    return 0


def written_in_place_unnoticed(packages: Path, scratch: Path) -> int:
    """The same size and the same time."""
    path = packages / "flash_attn" / "__init__.py"
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"#")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return 0


def record_written_in_place(packages: Path, scratch: Path) -> int:
    with (packages / "torch-2.13.0+cu130.dist-info" / "RECORD").open("w") as file:
        file.write("torch/__init__.py,,\n")
    return 0


def files_added(packages: Path, scratch: Path) -> int:
    (packages / "torch" / "lib" / "deep").mkdir()
    (packages / "torch" / "lib" / "deep" / "stranger.py").write_text("x = 1\n", "utf-8")
    return 0


def uninstalled_with_what_it_needs(packages: Path, scratch: Path) -> int:
    remove(packages, "flash_attn")
    remove(packages, "networkx")
    return 0


def written_in_place_and_replaced(packages: Path, scratch: Path) -> int:
    path = packages / "torch" / "nn" / "functional.py"
    with path.open("wb") as file:
        file.write(b"")
    path.unlink()
    path.write_text("y = 2\n", "utf-8")
    return 0


HARMFUL = [
    (cpu_torch, "torch lost CUDA: it was torch 2.13.0 for cu130, now it is torch 2.15.0 for the CPU"),
    (torch_downgraded_by_xformers, "torch 2.13.0+cu130 was replaced by 2.10.0+cu126"),
    (a_file_removed, "1 file of torch changed: functional.py"),
    (half_an_install, "torch 2.13.0+cu130 is gone"),
    (killed_in_the_middle, "torch 2.13.0+cu130 is gone"),
    (pip_itself_broken, "2 files of pip changed"),
    (written_in_place, "1 file of torch changed: __init__.py"),
    (written_in_place_unnoticed, "1 file of flash-attn changed: __init__.py"),
    (record_written_in_place, "1 file of torch changed: RECORD"),
    (files_added, "stranger.py was added to their folders (1 new)"),
    (uninstalled_with_what_it_needs, "flash-attn 2.8.3 is gone"),
    (written_in_place_and_replaced, "1 file of torch changed: functional.py"),
]


@pytest.mark.parametrize(("updater", "said"), HARMFUL, ids=[updater.__name__ for updater, _ in HARMFUL])
def test_harm_is_reported_and_undone_byte_for_byte(
    updater: Updater, said: str, guarded, packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree_of(packages.parents[2])
    assert guarded(updater) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert tree_of(packages.parents[2]) == before


def test_an_updater_that_does_no_harm_keeps_its_changes_and_its_status(
    guarded, packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def other_package(packages: Path, scratch: Path) -> int:
        unpack(stand_ins.wheel(scratch, "other", "1.0", {"other.py": "x = 1\n"}), packages)
        (packages / "torch" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"compiled")
        return 5

    assert guarded(other_package) == 5
    assert (packages / "other.py").exists()
    assert not (packages.parents[2] / ".aios-kept").exists()
    assert not list((tmp_path / "state" / "runs").iterdir())
    assert capsys.readouterr().err == ""


def test_declined_changes_can_be_undone_later(guarded, packages: Path, host: Host) -> None:
    before = tree_of(packages.parents[2])
    assert guarded(cpu_torch, yes=False) == 1  # nobody can be asked here
    assert list(packages.glob("torch-2.15.0.dist-info"))
    run = undo(host)
    assert run and [change.after for change in run.record.changes if change.name == "torch"] == ["2.15.0"]
    assert tree_of(packages.parents[2]) == before


def test_after_a_killed_guard_the_next_aios_restores_the_packages(
    packages: Path, host: Host, tmp_path: Path
) -> None:
    before = tree_of(packages.parents[2])
    (tmp_path / "state" / "runs").mkdir(parents=True)
    run = tmp_path / "state" / "runs" / "2026-11-30T12-00-00Z__00000000"
    run.mkdir()
    assert protection.keep(host, run)
    a_file_removed(packages, tmp_path)
    assert [each.folder for each in repair_interrupted(host)] == [run]
    assert tree_of(packages.parents[2]) == before


def test_files_without_a_wheel_are_named_before_the_command(
    packages: Path, host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installed by conda: there is no wheel, and this file system has only hard links."""
    monkeypatch.setattr(protected_files, "make_reflink", lambda path, copy: False)
    (packages / "torch-2.13.0+cu130.dist-info" / "INSTALLER").write_text("conda\n", "utf-8")
    said: list[str] = []

    def call(guard: Guard, command: list[str]) -> int:
        said.append(capsys.readouterr().err)
        return 0

    monkeypatch.setattr(Guard, "_call", call)
    assert Guard(host, True, None, Printer(sys.stderr)).run(["updater"]) == 0
    assert "torch: files that the command overwrites in place cannot be restored, because conda installed it" in " ".join(said[0].split())  # fmt: skip


def test_files_overwritten_in_place_come_back_from_reflinks(
    volume: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """btrfs and XFS: no wheel is needed, and guard does not ask for one."""
    monkeypatch.setenv("AIOS_HOME", str(volume / "state"))
    packages = install(volume / "env", wheels)
    (packages / "torch-2.13.0+cu130.dist-info" / "INSTALLER").write_text("conda\n", "utf-8")
    before = tree_of(volume / "env")

    def call(guard: Guard, command: list[str]) -> int:
        said.append(capsys.readouterr().err)
        for harm in (written_in_place, written_in_place_unnoticed, a_file_removed):
            harm(packages, volume)
        return 0

    said: list[str] = []
    monkeypatch.setattr(Guard, "_call", call)
    assert (
        Guard(live_host(find_python(volume / "env")), True, None, Printer(sys.stderr)).run(["updater"]) == 1
    )
    assert said == [""]
    assert tree_of(volume / "env") == before


def test_the_command_runs_an_updater_on_the_named_environment(packages: Path, tmp_path: Path) -> None:
    before = tree_of(packages.parents[2])
    target = packages / "torch" / "version.py"
    command = [
        sys.executable, "-m", "aios", "guard", "--yes", "--python", str(packages.parents[2].parent), "--",
        "/bin/sh", "-c", 'rm "$1"; echo updated', "sh", str(target),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "AIOS_HOME": str(tmp_path / "state")}
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "updated" in done.stderr and "The previous packages are restored." in done.stderr
    assert tree_of(packages.parents[2]) == before
