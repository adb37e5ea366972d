"""Run fast tests of the trainer with the oldest and the newest transformers that are supported.

With arguments, run pytest with them and the newest only.

Each version is installed by uv into a folder of its own, `.transformers-VERSION`, which comes before the environment's own
packages. So torch is not installed again.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import REPOSITORY, Environment, PreparationError, say

# The lower bound in pyproject.toml, and the newest release that was tested.
OLDEST, NEWEST = "5.4.0", "5.24.0"
TESTS = (
    "tests/trainer/models/test_rope.py",
    "tests/trainer/models/test_weights.py",
    "tests/trainer/attention/test_kv_cache.py",
    "tests/trainer/learning/test_chunks.py",
    "tests/trainer/hrm/test_model.py",
)


def main() -> int:
    """Install both and run the tests with each. Return the exit status of the first step that fails."""
    environment = Environment()
    try:
        environment.prepare("test")  # has uv and pytest
    except PreparationError as error:
        say(f"\n{error}")
        return 1
    python = str(environment.python)
    given = sys.argv[1:]
    for version in (NEWEST,) if given else (OLDEST, NEWEST):
        folder = REPOSITORY / f".transformers-{version}"
        install = (
            python,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--target",
            str(folder),
        )
        test = (python, "-m", "pytest", "-p", "no:cacheprovider", *(given or ("-m", "not slow", *TESTS)))
        steps: tuple[tuple[str, ...], ...] = (
            (*install, f"transformers=={version}"),
            (python, "-c", f"import transformers as t; assert t.__version__ == {version!r}, t.__version__"),
            test,
        )
        for step in steps:
            say(f"=== transformers {version}: {' '.join(step)}")
            if status := subprocess.call(step, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(folder)}):
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
