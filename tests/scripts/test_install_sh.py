"""`install.sh`: the Python that it selects, its message without one, and a complete installation in a new home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from environment import PACKED, REPOSITORY, Environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has install.cmd")

TOOLS = ("sh", "dirname")
SUITS = "exit 0"
TOO_OLD = "echo 'Python 3.9.1 in /usr: aios needs 3.10 to 3.14'; exit 1"
SHIM = "echo 'command not found' >&2; exit 127"  # what pyenv installs for versions that are not selected


@dataclass
class Machine:
    """A checkout with `install.sh`, and a PATH with only the fake programs."""

    checkout: Path
    programs: Path

    def add(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    def add_python(self, name: str, suits: str = SUITS) -> None:
        """A fake Python that prints its name and arguments when it runs install.py, and exits with 7."""
        tells = f'echo "{name} runs $*"; exit 7'
        self.add(name, f"case $1 in *suitable_python.py) {suits} ;; *) {tells} ;; esac")

    def install(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        script = self.checkout / "scripts" / "install.sh"
        return subprocess.run(
            ["/bin/sh", script, *arguments],
            cwd="/",
            env={"PATH": str(self.programs), "PYTHONHOME": "/nowhere", "CDPATH": "/usr"},
            input=answer,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    scripts = tmp_path / "Zoë's $HOME & co" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts" / "install.sh", scripts)
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    return Machine(scripts.parent, programs)


def test_the_best_covered_version_comes_first(machine: Machine) -> None:
    for name in ("python3", "python3.14", "python3.13", "python3.12"):
        machine.add_python(name)
    done = machine.install("/srv/my aios", "--yes")
    assert (done.returncode, done.stdout) == (7, "python3.12 runs scripts/install.py /srv/my aios --yes\n")
    assert done.stderr == ""


def test_unsuitable_pythons_are_skipped_with_a_reason(machine: Machine) -> None:
    machine.add_python("python3.12", SHIM)
    machine.add_python("python3.11", TOO_OLD)
    machine.add_python("python3")
    done = machine.install()
    assert done.stdout == ("Python 3.9.1 in /usr: aios needs 3.10 to 3.14\npython3 runs scripts/install.py\n")
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("apt-get", "sudo apt-get install python3 python3-venv"),
        ("dnf", "sudo dnf install"),
        ("nothing", "https://www.python.org/downloads/"),
    ],
)
def test_without_a_python_it_prints_the_command_to_install_one(
    machine: Machine, manager: str, line: str
) -> None:
    machine.add(manager, "echo 'nothing is run unasked'; exit 1")
    machine.add_python("python3", TOO_OLD)
    done = machine.install("--yes")
    assert (done.returncode, done.stderr) == (1, "")
    assert "Python 3.9.1 in /usr" in done.stdout
    assert done.stdout.splitlines()[-1].strip().startswith(line)


@pytest.fixture
def uv(machine: Machine, tmp_path: Path) -> Machine:
    """uv installs a Python in a folder with a space in its name."""
    folder = tmp_path / "uv pythons"
    folder.mkdir()
    machine.add_python("brought")
    (machine.programs / "brought").rename(folder / "python3.12")
    machine.add("uv", f'case $2 in find) echo "{folder}/python3.12" ;; *) echo "uv: $*" ;; esac')
    return machine


@pytest.mark.parametrize(("arguments", "answer"), [(["--yes"], ""), ([], "y\n"), ([], "Yes\n")])
def test_uv_installs_a_python_after_confirmation(uv: Machine, arguments: list[str], answer: str) -> None:
    done = uv.install(*arguments, answer=answer)
    assert "uv: python install 3.12\n" in done.stdout
    assert done.stdout.endswith(" ".join(["brought runs scripts/install.py", *arguments]) + "\n")
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n"])
def test_uv_is_not_run_without_confirmation(uv: Machine, answer: str) -> None:
    done = uv.install(answer=answer)
    assert done.returncode == 1
    assert "uv: " not in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "https://www.python.org/downloads/"


def test_if_uv_fails_the_manual_way_is_shown(uv: Machine) -> None:
    uv.add("uv", "echo 'no network' >&2; exit 2")
    done = uv.install("--yes")
    assert (done.returncode, done.stderr) == (1, "no network\n")
    assert "https://www.python.org/downloads/" in done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository that does not change during the test."""
    folder = tmp_path / "100% Zoë's $HOME & (co)"
    folder.mkdir()
    for name in (*PACKED, "scripts", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    return folder


def whole_way(checkout: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """`install.sh --yes` in an empty home, without access to PyTorch's own index."""
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(("PIP_", "SSL_"))}
    variables = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "AIOS_PYTORCH_INDEX": (home / "none").as_uri(),
    }
    return subprocess.run(
        ["/bin/sh", checkout / "scripts" / "install.sh", "--yes"],
        cwd=home,
        env={**kept, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of each file, and modification time of each folder."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def add_stand_in_for_torch(site_packages: Path, version: str) -> None:
    """The parts of an installed torch that the doctor reads without importing it."""
    metadata = f"torch-{version}.dist-info"
    files = {
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n",
        "torch/__init__.py": "",
        "torch/version.py": f"__version__ = '{version}'\ncuda = None\n",
    }
    files[f"{metadata}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{metadata}/RECORD"])
    for name, content in files.items():
        (site_packages / name).parent.mkdir(exist_ok=True)
        (site_packages / name).write_text(content, encoding="utf-8", newline="\n")


@pytest.mark.slow
def test_a_complete_installation(checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "Zoë Wiśniewska"
    home.mkdir()
    environment = Environment(home / ".local" / "share" / "aios" / "venv")
    first = whole_way(checkout, home)
    assert (first.returncode, environment.torch) == (1, None), first.stdout + first.stderr
    assert "The doctor is installed" in first.stdout
    site_packages = next((environment.folder / "lib").glob("*/site-packages"))
    assert (site_packages / "doctor" / "check.py").is_file(), "a copy, not a link to the checkout"

    before = tree(environment.folder), tree(checkout)
    assert whole_way(checkout, home).returncode == 1
    assert (tree(environment.folder), tree(checkout)) == before, "a second time changes nothing"

    command = [str(environment.command), "doctor", "--only", "python-version"]
    started = subprocess.run(command, cwd="/", env={"HOME": str(home)}, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr

    add_stand_in_for_torch(site_packages, "2.11.0+cpu")
    last = whole_way(checkout, home)
    assert last.returncode == 0, last.stdout + last.stderr
    assert environment.torch == "2.11.0+cpu", "what training needs was installed for this torch"
    assert next(site_packages.glob("transformers-*"))
    assert "train --config configs/quickstart.yaml\n" in last.stdout
