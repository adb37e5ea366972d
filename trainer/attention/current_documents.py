"""The documents of packed rows, on their way past a model's own code: to where it asks transformers for a mask.

A model hands its mask to every layer. It does not always hand on the keyword `document_ids` (Nemotron drops it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

# The ids of the current `documents`; the list is empty outside of it.
_current: list[Tensor] = []
# One for each model that is running with `take_keyword`.
_calls: list[ExitStack] = []


@contextmanager
def documents(document_ids: Tensor | None) -> Iterator[None]:
    """While entered, models get these documents (B, S) where they ask transformers for a mask."""
    if document_ids is None:
        yield
        return
    _current.append(document_ids)
    try:
        yield
    finally:
        _current.pop()


def current() -> Tensor | None:
    """The document ids (B, S) of the innermost `documents`, if there is one."""
    return _current[-1] if _current else None


def take_keyword(model: nn.Module) -> None:
    """Make a built model take the keyword `document_ids` as `documents` does, for models that drop keywords."""
    model.register_forward_pre_hook(_enter, with_kwargs=True)
    model.register_forward_hook(_leave, always_call=True)


def _enter(model: nn.Module, inputs: Any, keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    others = {name: value for name, value in keywords.items() if name != "document_ids"}
    stack = ExitStack()
    stack.enter_context(documents(keywords.get("document_ids")))
    _calls.append(stack)
    return inputs, others


def _leave(model: nn.Module, inputs: Any, output: Any) -> None:
    _calls.pop().close()
