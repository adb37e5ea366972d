"""Chat templates, and the same texts written by hand in Python: what the assistant says is in a list of its own.

The templates are ours, in the manner of well-known ones. They do not mark answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Messages = Sequence[Mapping[str, Any]]
Parts = Iterator[tuple[str, bool]]  # a text, and whether it is learned


@dataclass(frozen=True)
class Written:
    """A template, and a function that writes a conversation in parts."""

    template: str
    parts: Callable[[Messages], Parts]


def chatml(messages: Messages) -> Parts:
    for each in messages:
        yield f"<|im_start|>{each['role']}\n", False
        yield f"{each['content']}<|im_end|>\n", each["role"] == "assistant"


def trimmed(messages: Messages) -> Parts:
    yield "<begin>", False
    for each in messages:
        yield f"<|start|>{each['role']}<|stop|>\n\n", False
        yield f"{each['content'].strip()}<|eot|>", each["role"] == "assistant"


def brackets(messages: Messages) -> Parts:
    yield "<begin>", False
    for each in messages:
        if each["role"] == "assistant":
            yield f" {each['content']}<end>", True
        else:
            yield f"[INST] {each['content']} [/INST]", False


def turns(messages: Messages) -> Parts:
    for each in messages:
        role = "model" if each["role"] == "assistant" else each["role"]
        yield f"<start_of_turn>{role}\n", False
        yield f"{each['content'].strip()}<end_of_turn>\n", role == "model"


def ends_once(messages: Messages) -> Parts:
    for each in messages:
        yield f"<|{each['role']}|>\n", False
        yield f"{each['content']}<|end|>\n", each["role"] == "assistant"
    yield "<end>", messages[-1]["role"] == "assistant"


def no_end(messages: Messages) -> Parts:
    """As GLM: the header of the next message ends an answer."""
    before = False
    for each in messages:
        yield f"<|{each['role']}|>", before
        before = each["role"] == "assistant"
        yield f"\n{each['content'].strip()}", before


def thinking(messages: Messages) -> Parts:
    """As Qwen 3: reasoning remains only in the last answer, which has an empty one otherwise."""
    for number, each in enumerate(messages, 1):
        yield f"<|im_start|>{each['role']}\n", False
        answers, last = each["role"] == "assistant", number == len(messages)
        reasoning, _, content = each["content"].rpartition("</think>")
        if answers:
            thought = reasoning.rpartition("<think>")[2].strip("\n")
            content = content.lstrip("\n")
            yield (f"<think>\n{thought}\n</think>\n\n" if last else "") + f"{content}<|im_end|>\n", True
        else:
            yield f"{each['content']}<|im_end|>\n", False


WRITTEN = {
    "chatml": Written(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        chatml,
    ),
    "trimmed": Written(
        "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m.role + '<|stop|>\n\n' + m.content | trim + '<|eot|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant<|stop|>\n\n' }}{% endif %}",
        trimmed,
    ),
    "brackets": Written(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
        "{% else %}{{ '[INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}",
        brackets,
    ),
    "turns": Written(
        "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        turns,
    ),
    "ends once": Written(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
        "{# <|user|> <|assistant|> <|system|> #}",
        ends_once,
    ),
    "no end": Written(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content | trim }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{# <|user|> <|assistant|> <|system|> #}",
        no_end,
    ),
    "thinking": Written(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        "{% set thought = '' %}{% set content = m.content %}{% if '</think>' in content %}"
        "{% set thought = content.rsplit('</think>', 1)[0].rsplit('<think>', 1)[-1].strip('\n') %}"
        "{% set content = content.rsplit('</think>', 1)[1].lstrip('\n') %}{% else %}"
        "{% set content = content.lstrip('\n') %}{% endif %}"
        "{% if loop.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ content }}"
        "{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        thinking,
    ),
}
