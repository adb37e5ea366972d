"""Use one installed package, forwards and backwards: `verification_child.py NAME VERSION cuda|cpu`.

A program of its own that imports nothing of aios and runs in Python 3.9: a broken package may crash the process that imports
it. It ends with exit code 0 if the package works, else with an error message as the last line of stderr.
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
SIMILAR = 0.99  # cosine, of attention in 8 bits
FOUR_BITS = 0.2  # mean error of normally distributed numbers in 4 bits
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


def use_flash_attn_4(device: str) -> None:
    """Compile and run its kernels forwards; backwards only where it has kernels for that."""
    import torch
    from flash_attn.cute import flash_attn_func

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        result: Tensor = flash_attn_func(q, k, v, causal=True)[0]  # without the log-sum-exp
        return result

    if device == GPU_ONLY:
        compare_attention(attention, device, backward=torch.cuda.get_device_capability() >= (9, 0))


def use_sageattention(device: str) -> None:
    from sageattention import sageattn

    if device == GPU_ONLY:
        compare_quantized(lambda q, k, v: sageattn(q, k, v, tensor_layout="NHD", is_causal=True), device)


def compare_quantized(attention: Attention, device: str) -> None:
    """Compare attention in 8 bits, forwards only, with PyTorch's own: the directions of both must agree."""
    import torch
    from torch.nn.functional import cosine_similarity, scaled_dot_product_attention

    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 128, 2, 64, device=device, dtype=torch.float16) for _ in range(3))
    queries, keys, values = (x.float().transpose(1, 2) for x in (q, k, v))
    expected = scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2)
    similar = cosine_similarity(attention(q, k, v).float().flatten(), expected.flatten(), dim=0).item()
    if not similar > SIMILAR:
        sys.exit(f"its result differs from PyTorch's own attention: the cosine of both is {similar}")


def use_bitsandbytes(device: str) -> None:
    """Quantize numbers to 4 bits and back."""
    import torch
    from bitsandbytes import functional

    if device == GPU_ONLY:
        numbers = torch.randn(1024, device=device, dtype=torch.float16)
        again = functional.dequantize_4bit(*functional.quantize_4bit(numbers))
        error = (again - numbers).abs().mean().item()
        if not error < FOUR_BITS:
            sys.exit(f"numbers quantized to 4 bits and back differ by {error} on average")


def use_torchcodec(device: str) -> None:
    """Import it, which loads FFmpeg's libraries."""
    try:
        importlib.import_module("torchcodec.decoders")
    except RuntimeError as error:
        text = str(error)
        if "libtorchcodec" in text and "undefined symbol" not in text and "procedure" not in text:
            sys.exit(
                "FFmpeg's libraries were not found: install FFmpeg 4 to 8, on Windows a build with shared libraries"
            )
        raise


def compare_attention(attention: Attention, device: str, *, backward: bool = True) -> None:
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

    found_all, right_all = ([x, *(gradients(x) if backward else ())] for x in (result, expected))
    for found, right in zip(found_all, right_all):  # noqa: B905 - `strict` needs Python 3.10
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
    "torchcodec": use_torchcodec,
    "bitsandbytes": use_bitsandbytes,
    "sageattention": use_sageattention,
    "flash-attn-4": use_flash_attn_4,
}
NEEDING_A_GPU = USES.keys() - {"torch", "torchvision", "torchaudio", "torchcodec"}


def main(name: str, version: str, device: str) -> None:
    installed = importlib.metadata.version(name)
    if installed != version:
        sys.exit(f"{name} {installed} is installed instead of {version}")
    USES[name](device)
    if device != GPU_ONLY and name in NEEDING_A_GPU:
        sys.stderr.write(f"{name} was imported. Its kernels were not run, because they need an NVIDIA GPU.\n")


if __name__ == "__main__":
    # Nothing beside this file is a package to import. PYTHONSAFEPATH has no effect before Python 3.11.
    sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]
    main(*sys.argv[1:])
