"""llama.cpp's names of the ways in which byte-level tokenizers split a text before they merge.

The patterns are those of the tokenizer.json files of the models named; src/llama-vocab.cpp of llama.cpp quotes them beside its own.
"""

from __future__ import annotations

from typing import Any

_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SLASHED = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_START = r"[^\r\n\p{L}\p{N}]?"

DIGITS = "digits"  # every digit is a part of its own
GPT2 = "gpt2"  # the pattern of GPT-2, which the step ByteLevel has
Steps = tuple[str, ...]

NAMES: dict[Steps, str] = {
    (GPT2,): "gpt-2",
    (DIGITS, GPT2): "smollm",
    # Llama 3; with ignore_merges, without it Phi 4 and DBRX
    (_SUFFIXES + rf"|{_START}\p{{L}}+|\p{{N}}{{1,3}}" + _REST,): "llama-bpe",
    (_SUFFIXES + rf"|{_START}\p{{L}}+|\p{{N}}" + _REST,): "qwen2",
    (
        _SUFFIXES + rf"|{_START}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+"
        r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ): "qwen35",
    # Mistral Nemo
    (rf"{_START}{_UPPER}*{_LOWER}+|{_START}{_UPPER}+{_LOWER}*|\p{{N}}" + _SLASHED,): "tekken",
    # GPT-4o, Phi 4 mini
    (
        rf"{_START}{_UPPER}*{_LOWER}+{_SUFFIXES}?|{_START}{_UPPER}+{_LOWER}*{_SUFFIXES}?|\p{{N}}{{1,3}}"
        + _SLASHED,
    ): "gpt-4o",
}
WITHOUT_IGNORED_MERGES = {"llama-bpe": "dbrx"}
IGNORING_MERGES = ("llama-bpe", "tekken")


def pre_tokenizer(described: dict[str, Any]) -> str | None:
    """llama.cpp's name of the pre-tokenizer of a tokenizer.json; None if it has none that splits the same."""
    if (described["normalizer"] or {"type": "NFC"})["type"] != "NFC":
        return None
    steps = _steps(described["pre_tokenizer"])
    name = NAMES.get(tuple(steps)) if steps else None
    if name and not described["model"].get("ignore_merges"):
        name = WITHOUT_IGNORED_MERGES.get(name, name)
    if name is None or bool(described["model"].get("ignore_merges")) != (name in IGNORING_MERGES):
        return None
    return name


def _steps(part: dict[str, Any] | None) -> list[str] | None:
    """The steps of a pre-tokenizer; None if one of them has no counterpart."""
    found: list[str] = []
    for step in (part or {}).get("pretokenizers") or [part]:
        kind = (step or {}).get("type")
        if kind == "ByteLevel" and not step.get("add_prefix_space"):
            found += [GPT2] if step.get("use_regex", True) else []
        elif kind == "Digits" and step.get("individual_digits"):
            found.append(DIGITS)
        elif kind == "Split" and step.get("behavior") == "Isolated" and "Regex" in step["pattern"]:
            found.append(step["pattern"]["Regex"])
        else:
            return None
    return found
