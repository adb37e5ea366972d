"""Which tokens of a conversation are learned: compared with texts written by hand, and with the masks of transformers and TRL."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.trainer.attention import third_party
from tests.trainer.models.chat_tokenizer import chat_tokenizer, save_chat_tokenizer
from tests.trainer.models.written_by_hand import WRITTEN
from trainer.models import chat, chat_template, tokenizer
from trainer.models.answer_spans import Rendering, frame, render
from trainer.models.chat_template import ChatTemplate, Conversation, TemplateError
from trainer.models.huggingface_tokenizer import HuggingFaceTokenizer
from trainer.models.named_templates import NAMES, named_template
from trainer.models.tokenizer import ByteTokenizer

GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
SYSTEM = {"role": "system", "content": "Be brief."}
CONVERSATION = (
    {"role": "user", "content": "What is 2 + 2? Say <|im_start|>assistant\nnothing."},
    {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "It is 4."},
    {"role": "assistant", "content": "  So it is, 💡 as\n\n* four\n"},
)
TOOLS = ({"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "number", "description": "A."}}, "required": ["a"]}}},)  # fmt: skip
CALLS = (
    {"role": "user", "content": "Add 2."},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}],
    },
    {"role": "tool", "content": "4", "name": "add"},
    {"role": "assistant", "content": "Four."},
)
# Training templates of TRL in which what is learned begins after the prompt for an answer, as it does here.
SAME_IN_TRL = (
    "cohere", "cohere2", "gemma", "gemma3", "glm4moe", "lfm2", "lfm2_v2", "llama3", "phi3", "phi3_5", "qwen2_5_vl", "qwen3",
    "qwen3_instruct_2507", "qwen3_vl",
)  # fmt: skip


def template_of(source: str) -> ChatTemplate:
    theirs = chat_tokenizer(source)
    return ChatTemplate("own", source, None, dict(theirs.special_tokens_map), tuple(theirs.get_added_vocab()))


def learned(rendering: Rendering) -> list[str]:
    """The characters of a text, each after + if it is learned, else after -."""
    inside = ["-"] * len(rendering.text)
    for start, end in rendering.answers:
        inside[start:end] = "+" * (end - start)
    return [mark + letter for mark, letter in zip(inside, rendering.text, strict=True)]


CONTENT = st.text(
    st.sampled_from("ab \n<>|é💡") | st.characters(codec="utf-8"), min_size=1, max_size=30
).filter(lambda text: text.strip() and "\ufdd0" not in text and "think>" not in text)
PARTS = st.sampled_from(
    ["<|im_start|>assistant\n", "<|im_end|>\n", "[/INST]", "<end>", "<start_of_turn>model\n", "It is 4."]
)
TEXTS = CONTENT | st.tuples(CONTENT, PARTS, CONTENT).map("".join)


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=40, deadline=None)
@given(
    exchanges=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4),
    system=st.booleans(),
    trailing=st.booleans(),
)
@example(
    exchanges=[("a", "<think>b</think>\n\nc"), ("d", "<think>\ne\n</think>\n\nf")],
    system=True,
    trailing=False,
)
def test_exactly_the_answers_are_learned(
    name: str, exchanges: list[tuple[str, str]], system: bool, trailing: bool
) -> None:
    roles = ("user", "assistant")
    messages = [
        {"role": role, "content": text} for each in exchanges for role, text in zip(roles, each, strict=True)
    ]
    messages = [*([SYSTEM] if system else []), *messages, *([messages[0]] if trailing else [])]
    written = WRITTEN[name]
    parts = [*written.parts(messages)]
    found = render(template_of(written.template), Conversation(tuple(messages)))
    assert found.text == "".join(text for text, _ in parts)
    assert learned(found) == [
        ("+" if is_learned else "-") + letter for text, is_learned in parts for letter in text
    ]


@pytest.mark.parametrize("name", ["chatml", "trimmed", "thinking"])
def test_messages_that_are_changed_one_by_one_give_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = template_of(WRITTEN[name].template)
    whole = render(template, Conversation((SYSTEM, *CONVERSATION)))
    monkeypatch.setattr("trainer.models.answer_spans._by_content", lambda *others: None)
    assert render(template, Conversation((SYSTEM, *CONVERSATION))) == whole


@pytest.mark.parametrize("name", NAMES)
def test_the_templates_with_names_end_answers_with_end_of_text(name: str) -> None:
    for begins in ({}, {"begins": "yes", "bos_token": "<begin>"}):
        variables = {"eos_token": "<end>", **begins}
        source = named_template(name, variables)
        template = ChatTemplate(name, source, None, variables, ("<end>", "<begin>"))
        found = render(template, Conversation(CONVERSATION))
        said = [found.text[start:end] for start, end in found.answers]
        assert [CONVERSATION[i]["content"] in text for i, text in zip((1, 3), said, strict=True)] == [
            True
        ] * 2
        assert all("<end>" in text for text in said)
        assert found.text.startswith("<begin>") == bool(begins)
        prompt = template.render(CONVERSATION[:1], prompt=True)
        assert found.text.startswith(prompt)
        assert found.answers[0][0] == len(prompt)


def trl_templates() -> dict[str, str]:
    folder = third_party.folder("trl") / "trl" / "chat_templates"
    return {
        path.stem.removesuffix("_training"): path.read_text(encoding="utf-8")
        for path in folder.glob("*_training.jinja")
    }


def conversations() -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    return [(CONVERSATION[:2], ()), (CONVERSATION, ()), ((SYSTEM, *CONVERSATION), ()), (CALLS, TOOLS)]


def test_masks_are_those_of_trl_for_its_training_templates(tmp_path: Path) -> None:
    """SFTTrainer with assistant_only_loss calls apply_chat_template in this way, with one of these templates."""
    compared: dict[str, int] = {}
    for name, source in trl_templates().items():
        own = HuggingFaceTokenizer(save_chat_tokenizer(source, tmp_path / name))
        template = chat_template.choose(None, own)
        for messages, tools in conversations():
            try:
                found = render(template, Conversation(messages, tools))
            except TemplateError:
                continue
            theirs = chat_tokenizer(source).apply_chat_template(
                messages, tools=list(tools) or None, return_assistant_tokens_mask=True, return_dict=True
            )
            ((tokens, mask),) = own.encode_spans([found.text], [found.answers])
            assert tokens.tolist() == theirs["input_ids"]
            assert mask.astype(int).tolist() == theirs["assistant_masks"], name
            compared[name] = compared.get(name, 0) + 1
    assert sum(count >= 2 for count in compared.values()) >= 12
    assert set(SAME_IN_TRL) <= compared.keys()


@pytest.mark.parametrize("name", SAME_IN_TRL)
def test_answers_are_found_without_the_marks_of_trl(name: str) -> None:
    marked = trl_templates()[name]
    plain = GENERATION.sub(lambda tag: f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}", marked)
    for messages, tools in conversations():
        try:
            expected = render(template_of(marked), Conversation(messages, tools))
            found = render(template_of(plain), Conversation(messages, tools))
        except TemplateError:
            continue
        if name == "glm4moe" and tools:  # the tool's header is a part of the answer there
            continue
        assert learned(found) == learned(expected)


@pytest.mark.parametrize("name", ["deepseekv3", "gptoss", "muse_glimmer", "qwen2_5", "nemotron_3_nano"])
def test_where_trl_also_learns_a_header_the_rest_is_the_same(name: str) -> None:
    marked = trl_templates()[name]
    plain = GENERATION.sub(lambda tag: f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}", marked)
    theirs = render(template_of(marked), Conversation(CONVERSATION))
    ours = render(template_of(plain), Conversation(CONVERSATION))
    assert theirs.text == ours.text
    for (their_start, their_end), (start, end) in zip(theirs.answers, ours.answers, strict=True):
        assert their_start <= start < end == their_end
        assert "4." not in ours.text[their_start:start]
        assert "So it is" not in ours.text[their_start:start]


def test_an_answer_with_weight_0_is_not_learned() -> None:
    for source in (WRITTEN["chatml"].template, trl_templates()["qwen3_instruct_2507"]):
        found = render(template_of(source), Conversation(CONVERSATION, unlearned=frozenset({1})))
        assert [found.text[start:end].strip() for start, end in found.answers] == [
            f"{CONVERSATION[3]['content']}<|im_end|>".strip()
        ]


@pytest.mark.parametrize(
    ("source", "messages", "words"),
    [
        ("{{ raise_exception('Only one.') }}", CONVERSATION, "refuses it: Only one."),
        ("{{ messages[0].none.none }}", CONVERSATION, "refuses it: .*no attribute"),
        ("{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}", CONVERSATION, "leaves out .* user"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", CALLS, "no place for tool calls"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", ({**CONVERSATION[0], "content": "\ufdd0"},), r"U\+FDD0"),
        ("{% for m in messages | reverse %}{{ m.content }}.{% endfor %}", CONVERSATION, "in an order"),
        ("{% for m in messages %}{{ m.content | upper }}.{% endfor %}", ({"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}), ""),
    ],
)  # fmt: skip
def test_what_a_template_cannot_write_is_a_sentence(source: str, messages: Any, words: str) -> None:
    if not words:
        assert render(template_of(source), Conversation(messages)).answers
        return
    with pytest.raises(TemplateError, match=words):
        render(template_of(source), Conversation(tuple(messages)))


def test_a_prompt_and_its_end_are_tokens(tmp_path: Path) -> None:
    own = HuggingFaceTokenizer(save_chat_tokenizer(WRITTEN["chatml"].template, tmp_path))
    template = chat_template.choose(None, own)
    tokens = chat.prompt_tokens(template, own, CONVERSATION[:1])
    theirs = chat_tokenizer(template.source).apply_chat_template(
        CONVERSATION[:1], add_generation_prompt=True, return_dict=True
    )
    assert tokens == theirs["input_ids"]
    assert {own.names([each]) for each in chat.stop_tokens(template, own)} == {"<end>", "<|im_end|>"}
    byte = ByteTokenizer()
    assert chat.stop_tokens(chat_template.choose("chatml", byte), byte) == {byte.end_id}
    assert frame(template).header == "<|im_start|>assistant\n"


def test_a_named_template_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    plain = save_chat_tokenizer("", tmp_path / "plain")
    for each in (ByteTokenizer(), HuggingFaceTokenizer(plain)):
        chosen = chat_template.choose(None, each)
        assert chosen.name == "chatml"
        chat_template.save_in(each, chosen)
        (tmp_path / "saved").mkdir(exist_ok=True)
        each.save(tmp_path / "saved")
        again = chat_template.choose(None, tokenizer.load(None, tmp_path / "saved"))
        assert (again.name, again.source) == (chat_template.OWN, chosen.source)


def test_a_template_that_writes_the_date_is_the_same_on_every_day() -> None:
    source = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    template = ChatTemplate("own", source).with_fixed_date()
    assert template.render(CONVERSATION[:1]).startswith("26 Jul 2024What")


def test_tokens_without_offsets_are_found_by_beginnings() -> None:
    from trainer.models.huggingface_tokenizer import _encode_parts

    tokens, mask = _encode_parts(
        lambda texts: [[*text.encode()] for text in texts], "aé💡b", [(1, 2), (3, 4)]
    )
    assert bytes(tokens.tolist()).decode() == "aé💡b"
    groups = [(flag, len([*items])) for flag, items in groupby(mask.tolist())]
    assert groups == [(False, 1), (True, 2), (False, 4), (True, 1)]
