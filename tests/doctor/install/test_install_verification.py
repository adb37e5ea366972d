"""The program that verifies an installation, run on the torch of the tests: it passes right results and rejects wrong ones."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from doctor.install import verification_child
from doctor.install.verification import CHILD
from doctor.install.verification_child import (
    USES,
    compare_compiled,
    main,
    use_flash_attn,
    use_torch,
    use_xformers,
)
from wheels.packages import DISTRIBUTIONS, TORCH_COMPANIONS

ROOT = Path(__file__).parents[3]


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True) -> Tensor:
    queries, keys, values = (x.transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(queries, keys, values, is_causal=causal).transpose(1, 2)


def wrong_gradient(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """The output is right, but half of the gradient is missing."""
    right = attention(q, k, v, causal=causal)
    return right * 0.5 + (right * 0.5).detach()


def install_stand_ins(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Tensor]) -> None:
    """Replace flash_attn and xformers by `function`, and the GPU by the CPU."""
    flash_attn, xformers, ops = ModuleType("flash_attn"), ModuleType("xformers"), ModuleType("xformers.ops")
    flash_attn.flash_attn_func = function  # type: ignore[attr-defined]
    ops.LowerTriangularMask = object  # type: ignore[attr-defined]
    ops.memory_efficient_attention = lambda q, k, v, attn_bias: function(q, k, v, causal=True)  # type: ignore[attr-defined]
    for module in (flash_attn, xformers, ops):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(verification_child, "GPU_ONLY", "cpu")


@pytest.mark.parametrize("use", [use_flash_attn, use_xformers])
def test_attention_is_compared_with_its_definition(
    use: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_stand_ins(monkeypatch, attention)
    use("cpu")
    wrong: tuple[Callable[..., Tensor], ...] = (
        lambda q, k, v, causal: attention(q, k, v, causal=False),
        lambda q, k, v, causal: attention(q, k, v) + 0.1,
        wrong_gradient,
    )
    for function in wrong:
        install_stand_ins(monkeypatch, function)
        with pytest.raises(SystemExit, match="differs from PyTorch's own attention"):
            use("cpu")


def test_torch_multiplies_and_differentiates(monkeypatch: pytest.MonkeyPatch) -> None:
    use_torch("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="sees no GPU"):
        use_torch("cuda")


def test_a_wrong_compiled_kernel_is_found() -> None:
    compare_compiled(lambda function, fullgraph: function, "cpu")
    with pytest.raises(SystemExit, match="a compiled kernel is wrong"):
        compare_compiled(lambda function, fullgraph: lambda x: function(x) + 1, "cpu")


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile for the CPU needs a C++ compiler")
def test_torch_compile_on_the_cpu_passes() -> None:
    """In a separate process, because torch's compiler raises warnings, which are errors in the tests."""
    code = (
        f"import torch\nfrom {compare_compiled.__module__} import *\ncompare_compiled(torch.compile, 'cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_every_package_that_can_be_installed_can_be_verified() -> None:
    assert set(USES) == {*TORCH_COMPANIONS, *(name for names in DISTRIBUTIONS.values() for name in names)}


def test_an_unexpected_version_is_an_error() -> None:
    with pytest.raises(SystemExit, match=r"is installed instead of 0\.0\.1$"):
        main("torch", "0.0.1", "cpu")


def test_the_program_runs_without_aios_on_its_path() -> None:
    """As the installer starts it: by its path, in a process that cannot import aios."""
    command = [sys.executable, str(CHILD), "torch", importlib.metadata.version("torch"), "cpu"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
