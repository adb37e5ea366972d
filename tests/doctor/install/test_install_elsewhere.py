"""`aios install --python`: real installations into environments in which nothing of aios is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

from doctor.commands import install as commands
from doctor.commands.install import Call
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.other_python import find_python
from doctor.install.affected_files import Scheme
from doctor.install.install_plan import InstallRequest
from doctor.install.install_record import installations
from doctor.install.pip import find_pip
from doctor.wheel_search.install_error import InstallError
from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.elsewhere import Elsewhere, own_packages
from tests.doctor.install.loopback import Server

pytestmark = pytest.mark.skipif(os.name == "nt", reason="tests/wine has the embeddable Python")


@pytest.fixture
def environment(tmp_path: Path, server: Server) -> Elsewhere:
    """The layout of ComfyUI portable, without pip: the folder of the application is named. Its sitecustomize prints."""
    application = tmp_path / "приложение ż"
    found = Elsewhere(application, name="python_embeded", named=".")
    venv.create(found.venv)
    (found.site_packages / "sitecustomize.py").write_text(
        "print('noise')\nraise ValueError('noise')\n", "utf-8"
    )
    return found.ready(server)


def test_packages_are_installed_there_and_undone(environment: Elsewhere, server: Server) -> None:
    publish(
        environment.state,
        server,
        [stand_ins.flash_attn(server.folder / "files" / "v1", stand_ins.LABEL)],
    )
    before, own = environment.tree(), own_packages()
    planned = environment.install("--dry-run", "torch", "flash-attn")
    assert planned["status"] == "planned"
    assert environment.tree() == before
    answer = environment.install("torch", "flash-attn")
    assert (answer["status"], answer["python"]) == ("installed", str(environment.venv / "bin" / "python3"))
    assert f'aios undo --python "{answer["python"]}"' in answer["message"]
    assert (environment.version("torch"), environment.version("flash_attn")) == ("2.14.1+cu130", "2.8.3")
    assert environment.version("pip") is None, "the pip of aios was run there, without being installed"
    assert [run.record.prefix for run in installations_of(environment)] == [str(environment.venv)]
    assert environment.install("--undo")["status"] == "undone"
    assert environment.tree() == before
    assert own_packages() == own


def installations_of(environment: Elsewhere) -> list:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(environment.state))
        return list(installations(live_host(find_python(environment.venv))))


@pytest.mark.long
def test_a_package_that_does_not_work_there_is_removed(environment: Elsewhere, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", stand_ins.LABEL, result=None)
    publish(environment.state, server, [wheel])
    before = environment.tree()
    answer = environment.install("torch", "flash-attn", status=4)
    assert (answer["status"], "DLL load failed" in answer["message"]) == ("rolled back", True)
    assert environment.tree() == before


def test_a_base_python_is_refused_without_advice_to_install_aios_there(
    tmp_path: Path, server: Server
) -> None:
    environment = Elsewhere(tmp_path).ready(server)
    done = super(Elsewhere, environment).aios(
        "install", "torch", "--dry-run", "--python", sys.base_prefix, python=Path(sys.executable)
    )
    said = " ".join(done.stdout.split())
    assert (done.returncode, "Give the environment of the application instead, with --python." in said) == (
        1,
        True,
    )
    assert "install aios there" not in said


def test_the_embedded_pip_is_started_as_its_application_starts_it(tmp_path: Path) -> None:
    """Comfy-Org/ComfyUI: update/update_comfyui_and_python_dependencies.bat runs `python_embeded\\python.exe -s -m pip`."""
    venv.create(tmp_path / "env")
    python = find_python(tmp_path / "env")
    folder = Path(python.site_packages, "pip-25.0.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text("Name: pip\nVersion: 25.0\n", "utf-8")
    (tmp_path / "env" / "python312._pth").write_text("import site\n", "utf-8")
    assert find_pip(live_host(python)).program[:2] == (python.executable, "-s")
    (tmp_path / "env" / "python312._pth").unlink()
    assert find_pip(live_host(python)).program[1] != "-s"


def test_programs_are_looked_for_where_that_python_installs_them(tmp_path: Path) -> None:
    venv.create(tmp_path / "env")
    python = find_python(tmp_path / "env")
    scheme = Scheme.of(live_host(python).identity)
    said = subprocess.run(
        [python.executable, "-c", "import sysconfig; print(sysconfig.get_path('scripts'), sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert [str(scheme.scripts), str(scheme.packages)] == said
    own = Scheme.of(live_host().identity)
    assert str(own.scripts) == sysconfig.get_path("scripts")


def test_an_environment_in_use_is_named_before_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked and nothing is downloaded for an environment whose files are in use."""
    plan = SimpleNamespace(targets=("torch",))
    call = Call(live_host(), json=False, yes=False, dry_run=False)
    monkeypatch.setattr(commands, "_prepared", lambda call, request: (None, None, plan))
    monkeypatch.setattr(commands, "_show", lambda *_: call.answer("planned", ""))

    def in_use(host: Host) -> None:
        raise InstallError("Programs are using this environment: python (process 1).")

    monkeypatch.setattr(commands, "refuse_if_in_use", in_use)
    monkeypatch.setattr(commands, "confirmed", lambda *_: pytest.fail("it asked"))
    with pytest.raises(InstallError, match="Programs are using"):
        commands._install(call, InstallRequest())
