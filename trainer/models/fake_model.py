"""Building and calling models on fake tensors, which have shapes but no data (torch's FakeTensorMode)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import masking_utils
from transformers.integrations import moe

EQUAL = (torch.ops.aten.allclose.default, torch.ops.aten.equal.default)


class DataFree(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Answers where a result depends on data that fake tensors do not have: comparisons are True, other values 0."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except DataDependentOutputException:
            return True if func in EQUAL else 0  # not False: JetMoE splits tensors at such numbers


@contextmanager
def fake_tensors(mode: DataFree) -> Iterator[None]:
    """While entered, new tensors are fake, and models of transformers and peft can be built and called on them."""
    with ExitStack() as stack:
        stack.enter_context(
            _silenced(logging.getLogger(FakeTensorMode.__module__))
        )  # it logs the errors that are caught here
        stack.enter_context(FakeTensorMode())
        stack.enter_context(mode)
        # In positions without data transformers would always find packed sequences.
        stack.enter_context(
            _replaced(masking_utils, "find_packed_sequence_indices", lambda position_ids: None)
        )
        # torch's grouped product of experts takes only bfloat16 on fake tensors; transformers' own takes any dtype, and
        # stores the same tensors for the backward pass.
        stack.enter_context(_replaced(moe, "_can_use_grouped_mm", lambda *tensors: False))
        # peft moves modules, and torch cannot convert fake parameters.
        stack.enter_context(_replaced(nn.Module, "to", lambda self, *_, **__: self))
        yield


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _replaced(owner: Any, name: str, function: Any) -> Iterator[None]:
    """While entered, a function is replaced, if this version of its package has it."""
    original = getattr(owner, name, None)
    if original is None:
        yield
        return
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, original)
