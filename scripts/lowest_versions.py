"""Run fast tests of the doctor with the lowest versions that pyproject.toml allows for aios' own dependencies.

The environment is made by uv in `.venv-lowest`, with Python 3.10 if that is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from environment import OLDEST_PYTHON, REPOSITORY, Environment, PreparationError, say

LOWEST = Environment(REPOSITORY / ".venv-lowest")
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "jsonschema")
TESTS = (
    "tests/doctor/checks/test_cases.py",
    "tests/doctor/commands/test_list_and_explain.py",
    "tests/doctor/report",
    "tests/test_front_door.py",
)


def main() -> int:
    """Create the environment and run the tests in it. Return the exit status of the first step that fails."""
    environment = Environment()
    try:
        environment.prepare("test")  # has uv
    except PreparationError as error:
        say(f"\n{error}")
        return 1
    uv = (str(environment.python), "-m", "uv")
    install = (*uv, "pip", "install", "--quiet", "--python", str(LOWEST.python))
    steps: list[tuple[str, ...]] = [
        (*uv, "venv", "--quiet", "--clear", "--python", _oldest_python(), str(LOWEST.folder)),
        (*install, "--resolution", "lowest-direct", "--editable", str(REPOSITORY)),
        (*install, *TEST_TOOLS),
        (*uv, "pip", "list", "--python", str(LOWEST.python)),
        (str(LOWEST.python), "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow and not wine", *TESTS),
    ]
    for step in steps:
        say(f"=== {' '.join(step)}")
        if status := subprocess.call(step, cwd=REPOSITORY):
            return status
    return 0


def _oldest_python() -> str:
    """Return the oldest supported Python if it is installed and starts, else the one that runs this."""
    name = "python{}.{}".format(*OLDEST_PYTHON)
    found = shutil.which(name)
    starts = found and subprocess.run([found, "--version"], capture_output=True).returncode == 0
    return found if found and starts else sys.executable


if __name__ == "__main__":
    sys.exit(main())
