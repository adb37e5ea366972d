"""Run fast tests of the trainer with the oldest transformers that is supported. The whole suite runs with the newest.

uv installs it into a folder of its own, `.transformers-VERSION`, which comes before the environment's own packages. So torch
is not installed again.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import REPOSITORY, Environment, PreparationError, say

OLDEST = "5.4.0"  # the lower bound in pyproject.toml
TESTS = (
    "tests/trainer/models/test_rope.py",
    "tests/trainer/models/test_weights.py",
    "tests/trainer/attention/test_kv_cache.py",
    "tests/trainer/learning/test_chunks.py",
)


def main() -> int:
    """Install it and run the tests. Return the exit status of the first step that fails."""
    environment = Environment()
    try:
        environment.prepare("test")  # has uv and pytest
    except PreparationError as error:
        say(f"\n{error}")
        return 1
    python = str(environment.python)
    folder = REPOSITORY / f".transformers-{OLDEST}"
    install = (python, "-m", "uv", "pip", "install", "--quiet", "--python", python, "--target", str(folder))
    steps: tuple[tuple[str, ...], ...] = (
        (*install, f"transformers=={OLDEST}"),
        (python, "-c", f"import transformers as t; assert t.__version__ == {OLDEST!r}, t.__version__"),
        (python, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow", *TESTS),
    )
    for step in steps:
        say(f"=== transformers {OLDEST}: {' '.join(step)}")
        if status := subprocess.call(step, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(folder)}):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
