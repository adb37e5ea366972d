"""A message of instruction data, in the forms that other programs write, as transformers' templates expect it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from doctor.bounded import parse_json

# Names of roles in data: ShareGPT, OpenAI, Gemini, Open Assistant, Cohere, LLaMA-Factory and others.
ROLES = {
    "user": ("user", "human", "prompter", "question", "instruction"),
    "assistant": (
        "assistant",
        "gpt",
        "bot",
        "model",
        "chatbot",
        "ai",
        "chatgpt",
        "bing",
        "bard",
        "answer",
        "output",
    ),
    "system": ("system", "developer", "context"),
    "tool": (
        "tool",
        "function",
        "observation",
        "function_response",
        "tool_response",
        "ipython",
        "tool_results",
    ),
    "call": ("function_call", "tool_call", "function-call"),
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names}
ROLE_KEYS = ("role", "from", "speaker", "author")
CONTENT_KEYS = ("content", "value", "text", "parts", "message")
PASSED_ON = ("tool_calls", "reasoning_content", "thinking", "reasoning", "name", "tool_call_id")
LEARNED_KEYS = (
    "weight",
    "train",
    "training",
    "loss",
)  # OpenAI: weight 0; axolotl: train or training false; ms-swift: loss


class NotAConversationError(ValueError):
    """A record is not what its fields promise. The text says what was found."""


class UnusableError(ValueError):
    """A record is a conversation, but nothing can be learned from it. The text is the reason."""


def is_turn(value: Any) -> bool:
    """Whether a value looks like a message: a role with a content, or with calls of tools."""
    return (
        isinstance(value, Mapping)
        and _key(value, ROLE_KEYS) is not None
        and (_key(value, CONTENT_KEYS) is not None or "tool_calls" in value or "function_call" in value)
    )


def message(turn: Any) -> tuple[dict[str, Any], bool]:
    """A message with the keys `role` and `content`, and whether it is learned.

    Raises:
        NotAConversationError: it has no role, an unknown one, or a content that is not text.
    """
    if not isinstance(turn, Mapping):
        raise NotAConversationError(f"a message is {_shown(turn)}, not an object with a role and a content")
    role_key, content_key = _key(turn, ROLE_KEYS), _key(turn, CONTENT_KEYS)
    if role_key is None:
        raise NotAConversationError(
            f"a message has no role: its keys are {', '.join(map(str, turn)) or 'none'}"
        )
    role = _role(turn[role_key])
    content = _text(turn[content_key]) if content_key is not None else None
    made: dict[str, Any] = {"role": role, "content": content}
    if role == "call":
        made = {"role": "assistant", "content": None, "tool_calls": [_call(content or "")]}
    made |= {key: turn[key] for key in PASSED_ON if turn.get(key) not in (None, [], "")}
    if isinstance(turn.get("function_call"), Mapping):  # OpenAI, before tools
        made["tool_calls"] = [turn["function_call"]]
    if "tool_calls" in made:
        made["tool_calls"] = [_tool_call(call) for call in _list(made["tool_calls"], "tool_calls")]
    if content is None and "tool_calls" not in made and role != "tool":
        raise NotAConversationError(f"a message of the role {turn[role_key]} has no content")
    return made, all(turn.get(key) not in (0, False) for key in LEARNED_KEYS)


def tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """The definitions of tools, which may be a JSON string.

    Raises:
        NotAConversationError: they are not a list of objects.
    """
    if value in (None, "", []):
        return ()
    if isinstance(value, str):
        value = _parsed(value, "tools")
    return tuple(
        each if "type" in each and "function" in each else {"type": "function", "function": each}
        for each in (_object(it, "tools") for it in _list(value, "tools"))
    )


def _key(turn: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in turn), None)


def _role(value: Any) -> str:
    if isinstance(value, Mapping):  # ChatGPT's export: {"author": {"role": ...}}
        value = value.get("role")
    if isinstance(value, str) and (role := ROLE_OF.get(value.strip().lower())):
        return role
    known = ", ".join(name for names in ROLES.values() for name in names[:2])
    raise NotAConversationError(f"a message has the role {_shown(value)}. Known roles: {known}")


def _text(value: Any) -> str | None:
    """The text of a content: a string, or parts of which all are text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping) and "parts" in value:
        value = value["parts"]
    if not isinstance(value, list):
        raise NotAConversationError(f"a content is {_shown(value)}, not a string")
    return "".join(map(_part, value))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type", ", ".join(map(str, part))) if isinstance(part, Mapping) else _shown(part)
    raise NotAConversationError(
        f"a content has a part that is not text ({kind}). Only text can be trained on"
    )


def _call(text: str) -> Mapping[str, Any]:
    """A call of a tool that is the content of a message (LLaMA-Factory)."""
    return _object(_parsed(text, "a function call"), "a function call")


def _tool_call(call: Any) -> dict[str, Any]:
    """A call with its arguments as an object: templates write them as JSON."""
    call = _object(call, "tool_calls")
    inner = _object(call.get("function", call), "tool_calls")
    if not isinstance(inner.get("name"), str):
        raise NotAConversationError(
            f"a call of a tool has no name: its keys are {', '.join(map(str, inner))}"
        )
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _parsed(arguments, "the arguments of a tool") if arguments.strip() else {}
    others = {key: value for key, value in call.items() if key in ("id", "type") and value is not None}
    return {"type": "function", **others, "function": {"name": inner["name"], "arguments": arguments}}


def _parsed(text: str, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise NotAConversationError(f"{what}: not valid JSON ({error})") from None


def _list(value: Any, what: str) -> list[Any]:
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list):
        raise NotAConversationError(f"{what} is {_shown(value)}, not a list")
    return value


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise NotAConversationError(f"{what} contains {_shown(value)}, not an object")
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
