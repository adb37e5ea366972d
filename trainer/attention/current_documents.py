"""The document ids of the model call that is running, for the mask that the model requests from transformers.

A model passes its mask to every layer, but not always the keyword `document_ids` (Nemotron drops it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

# The ids of each `documents` that is entered, the innermost last.
_current: list[Tensor] = []
# The `documents` of each running call of a model with the hooks of `accept_document_ids`.
_calls: list[ExitStack] = []


@contextmanager
def documents(document_ids: Tensor | None) -> Iterator[None]:
    """While entered, the masks that models request from transformers separate these documents (B, S)."""
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


def accept_document_ids(model: nn.Module) -> None:
    """Make a built model apply the keyword `document_ids`, although its own code drops it."""
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
