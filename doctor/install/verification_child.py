"""Use one installed package, forwards and backwards: `verification_child.py NAME VERSION cuda|cpu`.

A program of its own that imports nothing of aios: a broken package may crash the process that imports it. It ends with
exit code 0 if the package works, else with an error message as the last line of stderr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Attention = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
TOLERANCE = 0.02  # of float16, relative to the largest element
GPU_ONLY = "cuda"  # the device on which attention and compiled kernels are tried


def use_torch(device: str) -> None:
    """Multiply two matrices, and differentiate the product."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} sees no GPU")
    a = torch.randn(64, 64, device=device, requires_grad=True)
    (a @ a).sum().backward()  # type: ignore[no-untyped-call]
    assert a.grad is not None
    if not torch.isfinite(a.grad).all().item():
        sys.exit("the gradient of a product is not finite")


def use_flash_attn(device: str) -> None:
    import torch  # noqa: F401 - flash_attn's extension module loads torch's libraries
    from flash_attn import flash_attn_func

    if device == GPU_ONLY:
        compare_attention(lambda q, k, v: flash_attn_func(q, k, v, causal=True), device)


def use_xformers(device: str) -> None:
    from xformers.ops import LowerTriangularMask, memory_efficient_attention

    if device == GPU_ONLY:
        compare_attention(
            lambda q, k, v: memory_efficient_attention(q, k, v, attn_bias=LowerTriangularMask()), device
        )


def compare_attention(attention: Attention, device: str) -> None:
    """Compare causal attention and its gradients with PyTorch's own in float32. Tensors are (batch, time, heads, width)."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    torch.manual_seed(0)
    q, k, v = (
        torch.randn(1, 128, 2, 64, device=device, dtype=torch.float16, requires_grad=True) for _ in range(3)
    )
    result = attention(q, k, v)
    with sdpa_kernel(SDPBackend.MATH):
        queries, keys, values = (x.float().transpose(1, 2) for x in (q, k, v))
        expected = scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2)

    def gradients(output: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(output.float().square().sum(), (q, k, v), retain_graph=True)

    pairs = zip((result, *gradients(result)), (expected, *gradients(expected)), strict=True)
    for found, right in pairs:
        error = (found.float() - right.float()).abs().max().item()
        if error > TOLERANCE * max(1.0, right.float().abs().max().item()):
            sys.exit(f"its result differs from PyTorch's own attention by {error}")


def use_triton(device: str) -> None:
    """Compile a kernel by torch.compile, which generates the code for Triton."""
    import torch

    importlib.import_module("triton")
    if device == GPU_ONLY:
        compare_compiled(torch.compile, device)


def compare_compiled(compile_function: Callable[..., Callable[[Tensor], Tensor]], device: str) -> None:
    """Compare a compiled function with the function itself."""
    import torch

    def double(x: Tensor) -> Tensor:
        return (x * 2).sin()

    x = torch.linspace(0, 1, 4096, device=device, requires_grad=True)
    compiled = compile_function(double, fullgraph=True)(x)
    if not torch.allclose(compiled, double(x), atol=1e-5):
        sys.exit("a compiled kernel is wrong")
    compiled.sum().backward()  # type: ignore[no-untyped-call]


USES: dict[str, Callable[[str], object]] = {
    "torch": use_torch,
    "flash-attn": use_flash_attn,
    "xformers": use_xformers,
    "triton": use_triton,
    "triton-windows": use_triton,
    "torchvision": lambda device: importlib.import_module("torchvision"),
    "torchaudio": lambda device: importlib.import_module("torchaudio"),
}


def main(name: str, version: str, device: str) -> None:
    installed = importlib.metadata.version(name)
    if installed != version:
        sys.exit(f"{name} {installed} is installed instead of {version}")
    USES[name](device)


if __name__ == "__main__":
    # Nothing beside this file is a package to import. PYTHONSAFEPATH has no effect before Python 3.11.
    sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]
    main(*sys.argv[1:])
