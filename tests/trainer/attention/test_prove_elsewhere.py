"""A backend is proven in another application's Python, which has torch and nothing of aios."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from doctor.host import Completed
from doctor.host.other_python import find_python
from doctor.probes.backends import parse_proof
from doctor.proofs import PROVE_ELSEWHERE

# What torch imports; neither pydantic nor psutil nor anything else of aios
OF_TORCH = ("torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec")  # fmt: skip

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links to torch's folders")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The packages folder of an environment whose sitecustomize would end every process."""
    venv.create(tmp_path / "env")
    packages = Path(find_python(tmp_path / "env").site_packages)
    (packages / "sitecustomize.py").write_text("import os; os._exit(9)\n", encoding="utf-8")
    (packages / "trainer.py").write_text(
        "raise ImportError('another package with this name')\n", encoding="utf-8"
    )
    return packages


def prove(packages: Path, backend: str) -> dict[str, Any]:
    python = packages.parents[2] / "bin" / "python3"
    done = subprocess.run(
        [python, "-I", "-S", "-B", PROVE_ELSEWHERE, backend], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    facts = parse_proof(Completed(exit_code=0, stdout=done.stdout))
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert facts.capability.status == answer["backend"]["status"]
    return answer


def test_the_backend_runs_in_the_torch_of_that_environment(environment: Path) -> None:
    for name in OF_TORCH:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            origin = Path(spec.origin)
            source = origin.parent if origin.name == "__init__.py" else origin
            (environment / source.name).symlink_to(source)
    before = sorted(environment.rglob("*"))
    answer = prove(environment, "manual")
    assert (answer["backend"]["status"], answer["backend"]["version"]) == ("available", None)
    assert answer["backend"]["evidence"]["window_support_exact"] is True
    assert answer["devices"][0]["name"] == "CPU"
    assert sorted(environment.rglob("*")) == before, "nothing is written there"


def test_with_a_torch_that_is_too_old_the_status_is_unknown(environment: Path) -> None:
    """Other applications have old versions of torch: that is the reason then, not that the backend is broken."""
    (environment / "torch").mkdir()
    (environment / "torch" / "__init__.py").write_text("__version__ = '1.4.0'\n", encoding="utf-8")
    answer = prove(environment, "manual")
    assert answer["backend"]["status"] == "unknown"
    assert "does not run with torch 1.4.0: AttributeError" in answer["backend"]["reasons"][0]


def test_an_environment_without_torch_is_reported(environment: Path) -> None:
    answer = prove(environment, "sdpa")
    assert answer["backend"]["reasons"] == ["torch package not installed"]
