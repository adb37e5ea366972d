"""FlashAttention-2 as a compiled kernel from the Hugging Face hub, through the `kernels` package. Linux and WSL only.

Its builds use torch's stable ABI, so one fits several versions of torch; its functions are those of flash-attn 2. Nothing
is downloaded here: the kernel is loaded from the Hugging Face cache, or from the folder that AIOS_HUB_KERNEL names.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from doctor.capability import NO_HUB_KERNELS_ON_WINDOWS
from trainer.attention import flash_attn_2
from trainer.attention.backend import Backend
from trainer.attention.flash_attn_2 import lacking_gpu, lacking_options
from trainer.attention.request import Options

FOLDER = "AIOS_HUB_KERNEL"
REPOSITORY = "kernels-community/flash-attn2"
# The versions of the repository that transformers 5.23 loads (modeling_flash_attention_utils.py): one for the torch
# releases with the stable ABI, one for those before.
VERSION = 4 if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 10) else 3
DOWNLOAD = f"python -c \"import kernels; kernels.get_kernel('{REPOSITORY}', version={VERSION})\""


def missing() -> str | None:
    """Why there is no kernel to test; None if there is one. The package itself contains none."""
    if sys.platform == "win32":
        return NO_HUB_KERNELS_ON_WINDOWS
    if importlib.util.find_spec("kernels") is None:
        return "kernels package not installed"
    try:
        _kernel()
    except (ValueError, FileNotFoundError) as error:
        return f"{str(error).strip().splitlines()[0]} To download it: {DOWNLOAD}"
    return None


def reasons_here() -> list[str]:
    """The first reason why it cannot run on this machine."""
    reason = missing() or lacking_gpu(flash_attn_2.MIN_COMPUTE_CAPABILITY)
    reason = reason or lacking_options(_kernel(), flash_attn_2.OPTIONS)
    return [reason] if reason else []


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by the kernel; see `Backend.run`."""
    return flash_attn_2.attend(_kernel(), q, k, v, options)


@cache
def _kernel() -> ModuleType:
    """The kernel's module. Raises ValueError or FileNotFoundError if there is none for this machine."""
    kernels = importlib.import_module("kernels")
    logging.getLogger("kernels").setLevel(logging.ERROR)  # it warns on every load that does not ask the hub
    folder = os.environ.get(FOLDER)
    with _offline():
        kernel: ModuleType = (
            kernels.get_local_kernel(Path(folder))
            if folder
            else kernels.get_kernel(REPOSITORY, version=VERSION)
        )
    return kernel


@contextmanager
def _offline() -> Iterator[None]:
    """While entered, `kernels` uses only the Hugging Face cache; otherwise it would ask the hub on every load."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


HUB_KERNELS = Backend(
    name="hub_kernels",
    label=lambda request: "FlashAttention-2 (kernel from the Hugging Face hub)",
    distribution="kernels",
    max_head_dim=flash_attn_2.MAX_HEAD_DIM,
    reasons_here=reasons_here,
    reasons_against=flash_attn_2.reasons_against,
    run=run,
    missing=missing,
)
