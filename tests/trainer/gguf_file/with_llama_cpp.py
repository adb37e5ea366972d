"""llama.cpp as an independent reader of GGUF files: llama-cpp-python, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

VERSION = "0.3.36"
CACHE = Path(__file__).parents[3] / ".third-party"
CHILD = Path(__file__).with_name("llama_cpp_child.py")


@dataclass(frozen=True)
class Question:
    """What to ask llama.cpp about a file.

    Attributes:
        tokens: whose logits it computes.
        count: number of most likely tokens after them.
        text: that it splits into tokens.
    """

    file: str
    tokens: list[int]
    count: int = 0
    text: str = ""


@dataclass(frozen=True)
class Answer:
    logits: list[list[float]]
    new: list[int] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    template: str | None = None


def python() -> Path:
    """The interpreter that has llama-cpp-python: AIOS_LLAMA_PYTHON, or one that is made here. Skips the test if it cannot be."""
    if given := os.environ.get("AIOS_LLAMA_PYTHON"):
        return Path(given)
    folder = CACHE / f"llama-cpp-python-{VERSION}"
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / "llama-cpp-python.lock"):
        if _works(interpreter):
            return interpreter
        venv.create(folder, with_pip=True, clear=True)
        command = [str(interpreter), "-m", "pip", "install", "--quiet", f"llama-cpp-python=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not _works(interpreter):
            why = (done.stderr.splitlines() or ["it cannot be imported"])[-1]
            pytest.skip(f"llama-cpp-python {VERSION} cannot be built: {why}")
    return interpreter


def _works(interpreter: Path) -> bool:
    return (
        interpreter.exists()
        and subprocess.run([interpreter, "-c", "import llama_cpp"], capture_output=True).returncode == 0
    )


def ask(questions: list[Question], folder: Path) -> list[Answer]:
    """The answers to the questions, by one process. Its files are in `folder`."""
    asked, answered = folder / "questions.json", folder / "answers.json"
    asked.write_text(json.dumps([asdict(question) for question in questions]), encoding="utf-8")
    done = subprocess.run([python(), CHILD, asked, answered], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(answered.read_text(encoding="utf-8"))
    return [Answer(**each) for each in found]


if __name__ == "__main__":
    sys.stdout.write(f"{python()}\n")
