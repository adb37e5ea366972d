"""The command that adds an extra fits the environment, and works as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from doctor import extras
from doctor.extras import Environment, add_command

ROOT = Path(__file__).parents[2]
PLOT = ["matplotlib>=3.9"]
PYTHON = "/home/user/.venv/bin/python"
CLONE = Environment(PYTHON, "/home/user/.venv", checkout="/home/user/my aios")
COPY = Environment(PYTHON, "/home/user/.venv")
WINDOWS = Environment(r"C:\aios\.venv\Scripts\python.exe", r"C:\aios\.venv", is_windows=True)
SPACED = Environment(r"C:\My Files\.venv\Scripts\python.exe", r"C:\My Files\.venv", is_windows=True)


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        (CLONE, f"{PYTHON} -m pip install -e '/home/user/my aios[plot]'"),
        (COPY, f"{PYTHON} -m pip install 'matplotlib>=3.9'"),
        (
            Environment("/a b/python", "/a b", has_uv=True, has_pip=False),
            "uv pip install --python '/a b/python' 'matplotlib>=3.9'",
        ),
        (
            Environment(PYTHON, "/env", has_pip=False),
            f"{PYTHON} -m ensurepip\n  {PYTHON} -m pip install 'matplotlib>=3.9'",
        ),
        (
            Environment(PYTHON, "/env", has_pip=False, is_conda=True),
            f"conda install --yes --prefix /env pip\n  {PYTHON} -m pip install 'matplotlib>=3.9'",
        ),
        (WINDOWS, r'C:\aios\.venv\Scripts\python.exe -m pip install "matplotlib>=3.9"'),
        (
            SPACED,
            r'python -m pip --python "C:\My Files\.venv\Scripts\python.exe" install "matplotlib>=3.9"',
        ),
    ],
    ids=["clone", "copy", "uv", "no-pip", "conda-without-pip", "windows", "windows-with-a-space"],
)
def test_the_command_fits_the_environment(environment: Environment, command: str) -> None:
    assert add_command("plot", PLOT, environment) == command


def test_an_installed_copy_reads_the_requirements_from_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [
        "rich>=13.9",
        "numpy>=1.26; extra == 'train'",
        "bitsandbytes>=0.49; sys_platform == 'nowhere' and extra == 'train'",
        "matplotlib>=3.9; extra == 'plot'",
    ]
    monkeypatch.setattr(extras, "requires", lambda name: stated)
    assert extras.requirements_of("train") == ["numpy>=1.26"]
    assert extras.requirements_of("plot") == PLOT


def test_an_environment_from_before_the_new_name_does_not_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", missing)
    assert extras.requirements_of("plot") == []


def test_the_command_that_is_printed_here_runs_here() -> None:
    """pip takes the clone with its extra, without a network and without changing anything.

    Without -e: the build backend needs one more package for an editable wheel.
    """
    command = shlex.split(extras.how_to_add("plot"), posix=sys.platform != "win32")
    command = [word.strip('"') for word in command]
    assert command[-1] == f"{ROOT}[plot]"
    offline = ["--dry-run", "--no-index", "--no-deps", "--no-build-isolation"]
    dry_run = [*(word for word in command[:-1] if word != "-e"), *offline, command[-1]]
    done = subprocess.run(dry_run, capture_output=True, text=True)
    assert done.returncode == 0 and "aios-doctor" in done.stdout, done.stderr


def test_every_extra_that_a_text_names_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set()
    for path in (ROOT / "trainer").rglob("*.py"):
        named.update(re.findall(r"how_to_add\('(\w+)'\)", path.read_text(encoding="utf-8")))
    assert named == {"plot", "tensorboard", "parquet", "bitsandbytes", "gguf", "train"}
    assert all(f"\n{extra} = [" in project for extra in named)


def test_no_text_installs_aios_by_name() -> None:
    """A distribution called aios on a package index is another project."""
    folders = ("doctor", "gui", "trainer", "wheels", "scripts", "docs")
    paths = [
        path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")
    ]
    paths += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "aios.py"]
    wrong = re.compile(r"pip install[^\n]*[\s\"'`]aios(\[|[\"'`\s]|$)")
    found = [path.name for path in paths if wrong.search(path.read_text(encoding="utf-8"))]
    assert wrong.search('pip install "aios[plot]"') and wrong.search("pip install aios") and not found
