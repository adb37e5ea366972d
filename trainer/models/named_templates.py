"""Chat templates for base models, by name. Each answer ends with the end-of-text token."""

from __future__ import annotations

from collections.abc import Mapping

_LOOP = "{%- for message in messages -%}"
_TOOLS = (
    "{%- if tools -%}{{- '<|im_start|>system\\nTools:\\n' -}}{%- for tool in tools -%}{{- (tool | tojson) + '\\n' -}}"
    "{%- endfor -%}{{- '<|im_end|>\\n' -}}{%- endif -%}"
)
_CALLS = (
    "{%- for call in message.tool_calls or [] -%}"
    "{{- '<tool_call>' + ((call.function or call) | tojson) + '</tool_call>' -}}{%- endfor -%}"
)
# What ends an answer: a template in which it stands for END is completed by `named_template`.
_SOURCES = {
    "chatml": _TOOLS
    + _LOOP
    + "{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') -}}"
    + _CALLS
    + "{{- '<|im_end|>' -}}{%- if message.role == 'assistant' -%}END{%- endif -%}{{- '\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}",
    "alpaca": _LOOP
    + "{%- if message.role == 'user' -%}{{- '### Instruction:\\n' + message.content + '\\n\\n' -}}"
    "{%- elif message.role == 'assistant' -%}{{- '### Response:\\n' + message.content -}}END{{- '\\n\\n' -}}"
    "{%- else -%}{{- message.content + '\\n\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '### Response:\\n' -}}{%- endif -%}",
    "vicuna": _LOOP + "{%- if message.role == 'user' -%}{{- 'USER: ' + message.content -}}"
    "{%- elif message.role == 'assistant' -%}{{- ' ASSISTANT: ' + message.content -}}END"
    "{%- else -%}{{- message.content + '\\n\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- ' ASSISTANT:' -}}{%- endif -%}",
    "plain": _LOOP
    + "{{- message.content -}}{%- if message.role == 'assistant' -%}END{%- endif -%}{%- endfor -%}",
}
NAMES = tuple(_SOURCES)


def named_template(name: str, variables: Mapping[str, str]) -> str:
    """The source of a template.

    Args:
        variables: the tokenizer's special tokens. Its beginning-of-text token comes first, if `begins` names it.
    """
    same = variables.get("eos_token") == "<|im_end|>" and name == "chatml"
    begin = "{{- bos_token -}}" if variables.get("begins") else ""
    return begin + _SOURCES[name].replace("END", "" if same else "{{- eos_token -}}")
