"""The programs that verify an installation, with the torch that runs the tests: right answers pass, wrong ones do not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.install.verification import FLASH_ATTN, TORCH, TRITON, XFORMERS

SDPA = "torch.nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal={causal}).transpose(1, 2)"
MODULES = {
    "flash_attn.py": "import torch\ndef flash_attn_func(q, k, v, causal):\n    return " + SDPA + "{off}\n",
    "xformers/__init__.py": "",
    "xformers/ops.py": "import torch\nclass LowerTriangularMask: pass\n"
    "def memory_efficient_attention(q, k, v, attn_bias):\n    return " + SDPA + "{off}\n",
}


def on_the_processor(program: str, folder: Path, *, causal: bool = True, off: str = "") -> str:
    """What the program for a GPU says here: empty where it is content."""
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.format(causal=causal, off=off))
    text = "import torch\n" + program.format(gpu=True).replace('"cuda"', '"cpu"')
    text = text.replace("torch.cuda.is_available()", "True")
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, encoding="utf-8", timeout=600
    )
    return (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize("program", [FLASH_ATTN, XFORMERS], ids=["flash-attn", "xformers"])
def test_attention_is_held_to_its_definition(program: str, tmp_path: Path) -> None:
    assert on_the_processor(program, tmp_path) == ""
    assert "it is wrong by" in on_the_processor(program, tmp_path, causal=False)
    assert "it is wrong by" in on_the_processor(program, tmp_path, off=" + 0.1")


def test_a_wrong_gradient_is_seen(tmp_path: Path) -> None:
    """Forwards it is right; backwards a part of it is cut off."""
    off = " * 0.5 + (0.5 * " + SDPA.format(causal=True) + ").detach()"
    assert "it is wrong by" in on_the_processor(FLASH_ATTN, tmp_path, off=off)


def test_torch(tmp_path: Path) -> None:
    assert on_the_processor(TORCH, tmp_path) == ""
    done = subprocess.run(
        [sys.executable, "-c", TORCH.format(gpu=True)], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0 or "sees no GPU" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile for the processor needs a C++ compiler")
def test_what_torch_compile_makes_is_held_to_what_it_was_made_of(tmp_path: Path) -> None:
    program = TRITON.replace("import triton, torch", "import torch")
    assert on_the_processor(program, tmp_path) == ""
    wrong = "torch.compile = lambda function, fullgraph: lambda x: function(x) + 1\n"
    assert "a compiled kernel is wrong" in on_the_processor(wrong + program, tmp_path)
