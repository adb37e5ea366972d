"""Chat templates: a conversation written as one text, by the sandboxed Jinja of transformers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctor.bounded import read_text
from trainer.errors import UserError
from trainer.models.named_templates import NAMES, named_template

if TYPE_CHECKING:
    from trainer.models.tokenizer import Tokenizer

Message = Mapping[str, Any]
OWN = "the tokenizer's own"
DATED = re.compile(r"""strftime_now\(\s*(['"])([^'"]*)\1\s*\)""")
DATE = date(2024, 7, 26)  # the one that the template of Llama 3.1 writes if it is given none
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
LARGEST = 1 << 20  # bytes of a template
DEFAULT = "chatml"  # for tokenizers without a template
# Writes messages one after another: all that a model which has learned no conversations can do is continue them
CONTINUES = "plain"


class TemplateError(ValueError):
    """A template cannot write a conversation. Its text is the reason, for a message."""


@dataclass(frozen=True)
class Conversation:
    """Messages in order: dicts with `role`, `content` and perhaps `tool_calls`, as transformers expects them.

    Attributes:
        tools: JSON schemas of functions that the assistant may call.
        unlearned: indices of messages of the assistant that are context only.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    unlearned: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template, and what it may use.

    Attributes:
        name: OWN, one of `named_templates.NAMES`, or a path.
        tool_source: the template for conversations with tools, if it is another one.
        variables: the special tokens by their names, such as eos_token.
        special: all texts that are special tokens.
    """

    name: str
    source: str
    tool_source: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    special: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what determines its texts."""
        parts = [self.source, self.tool_source, dict(self.variables), self.special]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "replace")).hexdigest()

    def source_for(self, tools: Sequence[Any]) -> str:
        return self.tool_source if tools and self.tool_source else self.source

    def with_fixed_date(self) -> ChatTemplate:
        """The template with DATE as today, so that the same conversation is the same text on any day."""
        source, tool_source = (each and DATED.sub(_date, each) for each in (self.source, self.tool_source))
        return replace(self, source=source or "", tool_source=tool_source)

    def marks_answers(self, tools: Sequence[Any] = ()) -> bool:
        """Whether the template itself marks what the assistant says, with {% generation %}."""
        return bool(GENERATION.search(self.source_for(tools)))

    def render(self, messages: Sequence[Message], tools: Sequence[Any] = (), prompt: bool = False) -> str:
        """The conversation as text.

        Args:
            prompt: end with the header of an answer, for the assistant to continue.

        Raises:
            TemplateError: the template refuses the conversation.
        """
        return self._render(messages, tools, prompt, False)[0]

    def render_marked(
        self, messages: Sequence[Message], tools: Sequence[Any] = ()
    ) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as text, and the characters that the template marks with {% generation %}."""
        return self._render(messages, tools, False, True)

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Any], prompt: bool, marked: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        from jinja2.exceptions import TemplateError as JinjaError
        from transformers.utils.chat_template_utils import render_jinja_template

        # Templates write a key that is null as "None".
        plain = [{key: value for key, value in each.items() if value is not None} for each in messages]
        render: Any = render_jinja_template  # its annotation differs from what it returns
        try:
            texts, marks = render(
                conversations=[plain],
                tools=list(tools) or None,
                chat_template=self.source_for(tools),
                return_assistant_tokens_mask=marked,
                add_generation_prompt=prompt,
                **self.variables,
            )
        except (JinjaError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            reason = (str(error) or repr(error)).splitlines()[0]
            raise TemplateError(f"the chat template refuses it: {reason}") from error
        return texts[0], marks[0] if marked else []


def choose(name: str | None, tokenizer: Tokenizer, default: str = DEFAULT) -> ChatTemplate:
    """The named template, or the tokenizer's own.

    Args:
        name: one of `named_templates.NAMES`, or the path of a Jinja file.
        default: the template for a tokenizer without one.

    Raises:
        UserError: there is no such template.
    """
    variables, special = tokenizer.template_variables, tokenizer.special_texts
    own = tokenizer.chat_templates
    if name is None and own:
        return ChatTemplate(OWN, own["default"], own.get("tool_use"), variables, special)
    chosen = name or default
    source = named_template(chosen, variables) if chosen in NAMES else _read(chosen)
    return ChatTemplate(chosen, source, None, variables, special)


def save_in(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    """Make a named template the tokenizer's own, so that a checkpoint is used with the template it was trained with."""
    if template.name != OWN:
        tokenizer.use_chat_template(template.source)


def _date(call: re.Match[str]) -> str:
    return repr(DATE.strftime(call[2]))


def _read(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        raise UserError(
            f"data.chat_template (--chat-template) = {name}: no template has this name ({', '.join(NAMES)}), and there is no "
            f"such file: {path.absolute()}."
        )
    try:
        return read_text(path, LARGEST).removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The chat template {path.absolute()} cannot be read: {error}.") from error
