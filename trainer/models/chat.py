"""What a conversation with a model needs: the tokens of a prompt, and those that end an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.models.answer_spans import frame
from trainer.models.chat_template import ChatTemplate, Message
from trainer.models.tokenizer import Tokenizer


def prompt_tokens(
    template: ChatTemplate, tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Any] = ()
) -> list[int]:
    """The tokens of a conversation that the assistant is to continue.

    Raises:
        TemplateError: the template refuses the conversation.
    """
    ((tokens, _),) = tokenizer.encode_spans([template.render(messages, tools, prompt=True)], [()])
    found: list[int] = tokens.tolist()
    return found


def stop_tokens(template: ChatTemplate, tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end an answer: end-of-text, and the special token that the template writes after an answer."""
    ends = {tokenizer.end_id}
    closing = next((piece for piece in frame(template).closing if piece in template.special), None)
    if closing is not None:
        ((tokens, _),) = tokenizer.encode_spans([closing], [()])
        ends.update(tokens[:1].tolist())
    return frozenset(ends)
