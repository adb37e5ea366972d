"""Finds the assistant's answers in the text of a conversation. All other characters are the prompt.

A template with {% generation %} marks them itself. With any other template, the conversation is written again with marks in
place of the answers: the text around the marks is the template's own text and the prompts, so the text that the marks replaced
is an answer. An answer begins after the header that the template writes as a prompt, and ends after what closes it, such as
<|im_end|> and a line end. If a template rewrites an answer (tool calls, reasoning), the messages are changed one by one: the
text that changes with a message is its answer.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trainer.models.chat_template import ChatTemplate, Conversation, Message, TemplateError

Span = tuple[int, int]
# Marks are of characters that Unicode reserves for programs, so that no text contains them.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
MARK = re.compile(f"{OPEN}(\\d+){CLOSE}")
REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Frame:
    """What a template writes around an answer.

    Attributes:
        header: the prompt for an answer; if the template has none, what closes a question.
        lead: what it writes between the header and the last answer, such as an empty <think> block.
        closing: what it writes after the last answer, in pieces: special tokens, white space, other text.
        question_end: what it writes after a question.
    """

    header: str = ""
    lead: str = ""
    closing: tuple[str, ...] = ()
    question_end: str = ""


@dataclass(frozen=True)
class Rendering:
    """A conversation as text.

    Attributes:
        answers: the characters (start, end) that the assistant says and that are learned, in order.
        cuts: characters at which a token begins: the text is tokenized in parts.
    """

    text: str
    answers: tuple[Span, ...]
    cuts: tuple[int, ...] = ()


def render(template: ChatTemplate, conversation: Conversation) -> Rendering:
    """Write a conversation, and find the answers in it.

    Raises:
        TemplateError: the template refuses the conversation, leaves a part of it out, or hides where an answer is.
    """
    messages, tools = conversation.messages, conversation.tools
    marked = template.marks_answers(tools)
    if marked:
        text, spans = template.render_marked(messages, tools)
    else:
        text, spans = template.render(messages, tools), []
    _check_complete(template, conversation, text)
    if not marked or conversation.unlearned:
        found = _by_content(template, conversation, text) or _by_change(template, conversation, text)
        chosen = [found[i] for i in _answers(messages) if i not in conversation.unlearned]
        spans = chosen if not marked else [each for each in spans if any(_overlap(each, it) for it in chosen)]
    return Rendering(text, tuple(each for each in spans if each[0] < each[1]))


def _answers(messages: Sequence[Message]) -> list[int]:
    return [i for i, message in enumerate(messages) if message["role"] == "assistant"]


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _check_complete(template: ChatTemplate, conversation: Conversation, text: str) -> None:
    if OPEN in text:
        raise TemplateError("it contains the character U+FDD0, which Unicode reserves for programs")
    source = template.source_for(conversation.tools)
    if conversation.tools and "tools" not in source:
        raise TemplateError("the chat template has no place for tools")
    if any(message.get("tool_calls") for message in conversation.messages) and "tool_calls" not in source:
        raise TemplateError("the chat template has no place for tool calls")
    for message in conversation.messages:
        content = message.get("content")
        if isinstance(content, str) and not _occurs(content, text):
            raise TemplateError(f"the chat template leaves out a message of the role {message['role']}")


def _occurs(content: str, text: str) -> bool:
    """Whether a text contains a message, as it is, as a JSON string, or without its reasoning."""
    plain = content.strip()
    return (
        plain in text
        or json.dumps(plain, ensure_ascii=False)[1:-1] in text
        or content.rpartition("</think>")[2].strip() in text
    )


@lru_cache(maxsize=8)
def _frame(template: tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]) -> Frame:
    source, variables, special = template
    plain = ChatTemplate("", source, None, dict(variables), special)
    question, answer = ({"role": role, "content": f"{OPEN}{role}{CLOSE}"} for role in ("user", "assistant"))
    try:
        asked, prompt = plain.render([question]), plain.render([question], prompt=True)
        before, after = plain.render([question, answer]).split(answer["content"])
        _, question_end = asked.split(question["content"])
    except ValueError:  # TemplateError is one
        return Frame()
    header = (prompt[len(asked) :] if prompt.startswith(asked) else "") or question_end
    _, found, lead = before.rpartition(header) if header else ("", "", "")
    pieces = "|".join(map(re.escape, sorted(filter(None, special), key=len, reverse=True)))
    closing = re.split(rf"({pieces}|\s+)" if pieces else r"(\s+)", after)
    return Frame(header if found else "", lead if found else "", tuple(filter(None, closing)), question_end)


def frame(template: ChatTemplate) -> Frame:
    """What the template writes around an answer; an empty frame if it refuses a question and an answer."""
    return _frame((template.source, tuple(sorted(template.variables.items())), template.special))


def _by_content(template: ChatTemplate, conversation: Conversation, text: str) -> dict[int, Span] | None:
    """The answers by their index, if each is written as it is, perhaps without white space around it; else None."""
    messages = list(conversation.messages)
    answers = _answers(messages)
    for i in answers:
        if messages[i].get("tool_calls") or any(messages[i].get(key) for key in REASONING):
            return None
        messages[i] = {**messages[i], "content": f"{OPEN}{i}{CLOSE}"}
    parts = MARK.split(template.render(messages, conversation.tools))
    if [int(number) for number in parts[1::2]] != answers or not text.startswith(parts[0]):
        return None
    found, position, around = {}, len(parts[0]), frame(template)
    for i, before, after in zip(answers, parts[:-1:2], parts[2::2], strict=True):
        content = str(conversation.messages[i].get("content") or "")
        variants = (content, content.strip(), content.lstrip("\n"), content.lstrip(), content.rstrip())
        said = next((each for each in variants if text.startswith(each + after, position)), None)
        if said is None:
            return None
        end = position + len(said)
        found[i] = (position - _lead(before, around), _closed(template, text, end, end + len(after)))
        position = end + len(after)
    return found if position == len(text) else None


def _lead(before: str, around: Frame) -> int:
    """How many characters before its content an answer begins: those after the header."""
    leads = (around.lead, "") if around.header else ()
    return next((len(lead) for lead in leads if before.endswith(around.header + lead)), 0)


def _closed(template: ChatTemplate, text: str, end: int, limit: int) -> int:
    """Where an answer ends, with what closes it; `limit` is where the next message begins at the latest."""
    around, content = frame(template), end
    for piece in around.closing:
        if not text.startswith(piece, end) or end + len(piece) > limit:
            break
        end += len(piece)
    if (
        end == content
    ):  # the last answer is closed by another token than the others (gpt-oss), or by none (GLM)
        token = max(
            (each for each in template.special if each and text.startswith(each, end)), key=len, default=""
        )
        if not around.closing or token in around.question_end:
            end = min(limit, end + len(token))
    return end


def _by_change(template: ChatTemplate, conversation: Conversation, text: str) -> dict[int, Span]:
    """The answers by their index: of each message, the characters that change with it."""
    messages = conversation.messages
    regions = [_region(template, conversation, i, text) for i in range(len(messages))]
    found, last, around = {}, 0, frame(template)
    for i, (begin, end) in enumerate(regions):
        if begin < last:
            raise TemplateError(
                "the chat template writes messages in an order that hides which text is an answer"
            )
        if messages[i]["role"] == "assistant":
            limit = regions[i + 1][0] if i + 1 < len(messages) else len(text)
            header = text.rfind(around.header, last, begin) if around.header else -1
            begin = header + len(around.header) if header >= 0 else begin
            closed = _closed(template, text, end, limit)
            if closed == end and messages[i].get("tool_calls"):
                closed = _after_call(template, text, end, limit)
            found[i] = (begin, closed)
        last = end
    return found


def _after_call(template: ChatTemplate, text: str, end: int, limit: int) -> int:
    """The end of an answer with tool calls: after the special token that follows, as far as it is before `limit`."""
    ends = [text.find(each, end, limit) + len(each) for each in template.special if each in text[end:limit]]
    return _closed_space(text, min(ends), limit, template) if ends else end


def _closed_space(text: str, end: int, limit: int, template: ChatTemplate) -> int:
    space = next((piece for piece in frame(template).closing if piece.isspace()), "")
    return end + len(space) if space and text.startswith(space, end) and end + len(space) <= limit else end


def _region(template: ChatTemplate, conversation: Conversation, index: int, text: str) -> Span:
    """The characters that change with a message."""
    mark = f"{OPEN}{index}{CLOSE}"
    for changed in _changes(conversation.messages[index], mark):
        messages = [*conversation.messages[:index], changed, *conversation.messages[index + 1 :]]
        try:
            other = template.render(messages, conversation.tools)
        except TemplateError:
            continue
        begin = _common(text, other)
        rest = min(len(text), len(other)) - begin
        same = _common(text[::-1][:rest], other[::-1][:rest])
        if other[begin : len(other) - same].count(mark):
            return begin, len(text) - same
    raise TemplateError(
        f"the chat template hides which text belongs to a message of the role {conversation.messages[index]['role']}"
    )


def _common(one: str, other: str) -> int:
    """The number of characters that two texts begin with alike."""
    shorter = min(len(one), len(other))
    return bisect_left(range(1, shorter + 1), True, key=lambda length: one[:length] != other[:length])


def _changes(message: Message, mark: str) -> list[dict[str, Any]]:
    """The message with other texts: without its tool calls, and with other arguments in them."""
    plain = {key: value for key, value in message.items() if key not in ("tool_calls", *REASONING)}
    changes = [{**plain, "content": mark}]
    if calls := message.get("tool_calls"):
        others = [_other_call(call, mark) for call in calls]
        changes.append({**message, "tool_calls": others})
    return changes


def _other_call(call: Any, mark: str) -> Any:
    if isinstance(call.get("function"), dict):
        return {**call, "function": {**call["function"], "arguments": {mark: mark}}}
    return {**call, "arguments": {mark: mark}}
