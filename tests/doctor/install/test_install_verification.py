"""The program that verifies an installation, run on the torch of the tests: it passes right results and rejects wrong ones."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
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
    use_bitsandbytes,
    use_flash_attn,
    use_flash_attn_4,
    use_sageattention,
    use_torch,
    use_torchcodec,
    use_xformers,
)
from wheels.packages import DISTRIBUTIONS, ON_REQUEST

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


@pytest.mark.parametrize(("capability", "trains"), [((8, 9), False), ((9, 0), True)])
def test_flash_attn_4_is_compared_backwards_only_where_it_has_kernels_for_that(
    capability: tuple[int, int], trains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(function: Callable[..., Tensor]) -> None:
        cute = ModuleType("flash_attn.cute")
        cute.flash_attn_func = lambda q, k, v, causal: (function(q, k, v, causal=causal), None)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
        monkeypatch.setitem(sys.modules, cute.__name__, cute)

    monkeypatch.setattr(verification_child, "GPU_ONLY", "cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    install(attention)
    use_flash_attn_4("cpu")
    install(wrong_gradient)
    with pytest.raises(SystemExit, match="differs") if trains else nullcontext():
        use_flash_attn_4("cpu")
    install(lambda q, k, v, causal: attention(q, k, v, causal=False))
    with pytest.raises(SystemExit, match="differs"):
        use_flash_attn_4("cpu")


def test_attention_in_8_bits_must_be_similar(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(q: Tensor, k: Tensor, v: Tensor, tensor_layout: str, is_causal: bool) -> Tensor:
        assert tensor_layout == "NHD"
        return (attention(q, k, v, causal=is_causal) * 32).round() / 32

    module = ModuleType("sageattention")
    monkeypatch.setitem(sys.modules, "sageattention", module)
    monkeypatch.setattr(verification_child, "GPU_ONLY", "cpu")
    module.sageattn = rounded  # type: ignore[attr-defined]
    use_sageattention("cpu")
    module.sageattn = lambda q, k, v, **_: attention(q, k, v, causal=False)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit, match="the cosine of both is"):
        use_sageattention("cpu")


def test_numbers_in_4_bits_must_be_near(monkeypatch: pytest.MonkeyPatch) -> None:
    functional = ModuleType("bitsandbytes.functional")
    functional.quantize_4bit = lambda x: (x.abs().max(), x)  # type: ignore[attr-defined]
    functional.dequantize_4bit = lambda scale, x: (x / scale * 7).round() / 7 * scale  # type: ignore[attr-defined]
    package = ModuleType("bitsandbytes")
    package.functional = functional  # type: ignore[attr-defined]
    for module in (package, functional):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(verification_child, "GPU_ONLY", "cpu")
    use_bitsandbytes("cpu")
    functional.dequantize_4bit = lambda scale, x: x * 0  # type: ignore[attr-defined]
    with pytest.raises(SystemExit, match="4 bits and back differ"):
        use_bitsandbytes("cpu")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("Could not load libtorchcodec. libavutil.so.60: cannot open shared object file", "install FFmpeg"),
        ("Could not load libtorchcodec. undefined symbol: _ZN3c10", None),
    ],
)
def test_a_missing_ffmpeg_is_named(error: str, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError(error)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(SystemExit if said else RuntimeError, match=said or "undefined symbol"):
        use_torchcodec("cpu")


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
    assert set(USES) == {*ON_REQUEST, *(name for names in DISTRIBUTIONS.values() for name in names)}


def test_an_unexpected_version_is_an_error() -> None:
    with pytest.raises(SystemExit, match=r"is installed instead of 0\.0\.1$"):
        main("torch", "0.0.1", "cpu")


def test_the_program_runs_without_aios_on_its_path() -> None:
    """As the installer starts it: by its path, in a process that cannot import aios."""
    command = [sys.executable, str(CHILD), "torch", importlib.metadata.version("torch"), "cpu"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_gpu_flash_attn_4_is_imported_and_the_rest_is_said(tmp_path: Path) -> None:
    for name, text in {
        "flash_attn/cute/__init__.py": "def flash_attn_func(q, k, v, causal):\n    raise AssertionError('was called')\n",
        "flash_attn_4-4.0.0b36.dist-info/METADATA": "Metadata-Version: 2.1\nName: flash-attn-4\nVersion: 4.0.0b36\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, str(CHILD), "flash-attn-4", "4.0.0b36", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "")
    said = "flash-attn-4 was imported. Its kernels were not run, because they need an NVIDIA GPU.\n"
    assert done.stderr == said
