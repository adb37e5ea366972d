"""The commands, scripts and links in the documents exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/index.md",
    "docs/getting-started.md",
    "docs/windows-under-wine.md",
)
TEXT = {name: (ROOT / name).read_text("utf-8") for name in DOCUMENTS}
AIOS = sorted(set(re.findall(r"^    (aios [^#\n]*)", TEXT["README.md"], re.MULTILINE)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_script_and_link_exists(document: str) -> None:
    scripts = set(re.findall(r"scripts/\w+\.(?:py|sh|cmd)", TEXT[document].replace("\\", "/")))
    links = {link for link in re.findall(r"\]\(([^)]+)\)", TEXT[document]) if "://" not in link}
    assert scripts or links
    assert all((ROOT / script).is_file() for script in scripts)
    assert all((ROOT / document).parent.joinpath(link.partition("#")[0]).is_file() for link in links)


def test_the_readme_names_the_two_commands() -> None:
    assert "\n    python scripts/quickstart.py\n    python scripts/run_tests.py\n" in TEXT["README.md"]


@pytest.mark.parametrize("command", AIOS)
def test_every_command_line_is_understood(command: str) -> None:
    own = command.partition(" -- ")[0]  # what follows is the command that aios runs
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(own), "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "script",
    [
        "quickstart.py",
        "install.py",
        "windows_under_wine.py",
        "bench_startup.py",
        "bench_doctor.py",
        "bench_wheels.py",
    ],
)
def test_every_script_explains_itself(script: str) -> None:
    if script == "windows_under_wine.py" and sys.platform != "linux":
        pytest.skip("Wine is for Linux")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
