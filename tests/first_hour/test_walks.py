"""The first hour of a new user, from a terminal whose PATH does not find aios: every printed command is followed literally.

The packages come from an index on loopback, which has the real ones; pip, the doctor's fixes and training are real.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.install.loopback import serving
from tests.first_hour.index import fill
from tests.first_hour.user import User, bare_environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="follows commands with sh")

ROOT = Path(__file__).parents[2]
SHIPPED = (
    "aios.py", "doctor", "trainer", "wheels", "configs", "training_data", "scripts",
    "pyproject.toml", "constraints.txt", "README.md", "LICENSE",
)  # fmt: skip
TEXT = "".join(f"{n} bottles of beer on the wall, {n} bottles of beer;\ntake one down.\n" for n in range(120))
SHORT = "--dataset-file own.txt --steps 2 --eval-batches 1 --warmup-steps 1"
LOG = """Traceback (most recent call last):
  File "C:\\ComfyUI_windows_portable\\ComfyUI\\main.py", line 132, in <module>
    import execution
AssertionError: Torch not compiled with CUDA enabled
"""


def commands_under(shown: str, heading: str) -> list[str]:
    """The indented lines below a heading."""
    return re.findall(r"^  (\S.*)$", shown[shown.index(heading) :], re.MULTILINE)


def next_commands(shown: str) -> list[str]:
    """The commands of the doctor's last line."""
    return shown.rstrip().splitlines()[-1].partition("Next: ")[2].split("; then ")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user who has run the installer, and has declined the packages."""
    home = tmp_path_factory.mktemp("Zoë's home")
    checkout = home / "aios & co"
    checkout.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, checkout / name)
    (home / "bin").mkdir()
    (home / "bin" / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    with_python = f"{home / 'bin'}:/usr/bin:/bin"
    fill(home / "www")
    with serving(home / "www") as server:
        variables = {**bare_environment(home, with_python), **server.environment(), "PIP_NO_COMPILE": "1"}
        yield User(home, aios=str(home / "venv" / "bin" / "aios"), environment=variables)


@pytest.fixture(scope="module")
def declined(installed: User) -> str:
    installer = installed.folder / "aios & co" / "scripts" / "install.sh"
    return installed.types(shlex.join(["sh", str(installer), str(installed.folder / "venv")]), 1, answer="n")


@pytest.fixture(scope="module")
def trained(installed: User, declined: str) -> str:
    """What the first training prints, after every command that is printed on the way to it."""
    cd, _, install = commands_under(declined, "=== How to start")
    installed.folder = Path(shlex.split(cd)[1])
    (installed.folder / "own.txt").write_text(TEXT, encoding="utf-8", newline="\n")
    packages = installed.types(install, answer="y")
    assert "Installed and verified." in packages
    diagnosed = installed.types(packages.rpartition("Next: ")[2].strip())
    add_packages, train = next_commands(diagnosed)
    assert " -m pip install " in add_packages
    installed.types(add_packages)
    assert train.endswith("train --config configs/quickstart.yaml")
    return installed.types(f"{train} {SHORT}")


@pytest.mark.slow
def test_from_a_declined_installation_to_a_model_of_ones_own_text(installed: User, trained: str) -> None:
    assert "1 document" in trained
    (sample,) = re.findall(r"^Sample: (.*)$", trained, re.MULTILINE)
    assert installed.types(f"{sample} --max-new-tokens 5").strip()
    diagnosed = installed.types(f"{shlex.quote(installed.aios)} doctor --only python-version")
    assert "the others were not run" in diagnosed
    assert "finished" in installed.types(f"{shlex.quote(installed.aios)} runs")
    assert installed.follows_with_help(trained)


@pytest.mark.slow
def test_from_a_broken_environment_to_its_fix_and_the_next_training(installed: User, trained: str) -> None:
    """Another program's update took safetensors away, and Windows kept a file of it open."""
    python = Path(installed.aios).with_name("python")
    subprocess.run([python, "-m", "pip", "uninstall", "-y", "-q", "safetensors"], check=True)
    (site_packages,) = python.parents[1].glob("lib/*/site-packages")
    (site_packages / "~afetensors").mkdir()
    (site_packages / "~afetensors" / "safetensors.pyd").write_bytes(b"open in another program")
    aios = shlex.quote(installed.aios)
    train = f"{aios} train --config configs/quickstart.yaml {SHORT} --output-dir artifacts/second"
    assert "safetensors is not installed" in installed.types(train, 2)
    diagnosed = installed.types(f"{aios} doctor", 0, 1)
    assert "~afetensors" in diagnosed
    assert next_commands(diagnosed) == [f"{aios} doctor fix"]
    for _ in range(2):  # the leftovers hide the missing package, which the next diagnosis names
        installed.types(f"{aios} doctor fix", 0, 1, answer="y")
    assert not (site_packages / "~afetensors").exists()
    assert [*site_packages.glob("safetensors-*.dist-info")], "installed again"
    (continued,) = next_commands(installed.types(f"{aios} doctor"))
    assert "generate" in continued, "a model is trained: the next step samples from it"
    assert installed.types(f"{continued} --max-new-tokens 5").strip()
    assert "held-out loss" in installed.types(train)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def test_from_a_recorded_windows_machine_to_its_plan(user: User) -> None:
    machine = ROOT / "tests" / "machines" / "windows-cpu.json"
    shown = user.types(f"{user.aios} doctor --machine '{machine}'", 0, 1, 3)
    assert user.follows_with_help(shown), "the report names what to do next"
    plan = user.types(f"{user.aios} doctor --machine '{machine}' --fix --dry-run", 0, 1, 3)
    user.follows_with_help(plan)


def test_from_comfyuis_failed_log_to_its_cause_and_a_report(user: User) -> None:
    (user.folder / "comfy.log").write_text(LOG, encoding="utf-8", newline="\n")
    shown = user.types(f"{user.aios} doctor explain-log comfy.log")
    assert "1. torch is a CPU build" in shown
    user.follows_with_help(shown)
    report = user.follows(shown, "Not solved? A report for an issue, without personal data: ")
    (written,) = user.folder.glob("*.md")
    assert str(written) in report
    text = written.read_text("utf-8")
    assert "torch-cuda-build" in text and str(user.folder) not in text
