"""Records of instruction data, half of them in the forms that other projects document. The content is our own."""

from __future__ import annotations

from typing import Any

Q, A, S = "How far is the moon?", "About 384,400 km.", "Answer briefly."
TURNS = [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]
SHARED = [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]
CALL = {"name": "distance", "arguments": {"to": "moon"}}
TOOL = {
    "name": "distance",
    "description": "Tells a distance.",
    "parameters": {"type": "object", "properties": {}},
}
REFUSED = "refused"

# Source, record, shape, roles of the conversation (their first letters), number of learned answers. Refused: words of the reason.
DOCUMENTED: list[tuple[str, dict[str, Any], str, str]] = [
    ("TRL dataset_formats, language modeling", {"text": "The moon is far."}, "text", ""),
    ("TRL dataset_formats, conversational", {"messages": TURNS}, "messages", "ua"),
    ("TRL dataset_formats, prompt-completion", {"prompt": "The moon is", "completion": " far."}, "prompt-completion", "ua"),
    ("TRL dataset_formats, conversational prompt-completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}, "prompt-completion", "ua"),
    ("TRL dataset_formats, preference", {"prompt": Q, "chosen": A, "rejected": "No."}, REFUSED, "preference data"),
    ("TRL dataset_formats, unpaired preference", {"prompt": Q, "completion": A, "label": True}, REFUSED, "preference data"),
    ("TRL dataset_formats, stepwise supervision", {"prompt": Q, "completions": [A], "labels": [True]}, REFUSED, "label for each step"),
    ("axolotl inst_tune, alpaca", {"instruction": Q, "input": "", "output": A}, "alpaca", "ua"),
    ("axolotl inst_tune, jeopardy", {"question": Q, "category": "space", "answer": A}, "prompt-completion", "ua"),
    ("axolotl inst_tune, oasst", {"INSTRUCTION": Q, "RESPONSE": A}, "alpaca", "ua"),
    ("axolotl inst_tune, gpteacher", {"instruction": Q, "input": "Now.", "response": A}, "alpaca", "ua"),
    ("axolotl inst_tune, explainchoice", {"question": Q, "choices": ["a"], "solution": A}, REFUSED, "choices"),
    ("axolotl template_free", {"segments": [{"label": False, "text": Q}, {"label": True, "text": A}]}, "segments", "segments"),
    ("axolotl tokenized", {"input_ids": [1, 2], "attention_mask": [1, 1], "labels": [-100, 2]}, REFUSED, "in tokens"),
    ("axolotl conversation, pygmalion", {"conversations": [{"role": "user", "value": Q}, {"role": "assistant", "value": A}]}, "messages", "ua"),
    ("LLaMA-Factory data, alpaca with history", {"instruction": Q, "input": "", "output": A, "system": S, "history": [["Hi", "Hello"]]}, "alpaca", "suaua"),
    (
        "LLaMA-Factory data, sharegpt with tools",
        {
            "conversations": [
                SHARED[0],
                {"from": "function_call", "value": '{"name": "distance", "arguments": {"to": "moon"}}'},
                {"from": "observation", "value": '{"km": 384400}'},
                SHARED[1],
            ],
            "system": S,
            "tools": '[{"name": "distance", "description": "Tells a distance.", "parameters": {}}]',
        },
        "sharegpt",
        "suata",
    ),
    ("LLaMA-Factory data, KTO", {"instruction": Q, "output": A, "kto_tag": False}, REFUSED, "preference data"),
    ("LLaMA-Factory data, sharegpt preference", {"conversations": SHARED[:1], "chosen": SHARED[1], "rejected": SHARED[1]}, REFUSED, "preference data"),
    ("LLaMA-Factory data, multimodal", {"messages": TURNS, "images": ["moon.png"]}, REFUSED, "images"),
    ("unsloth datasets guide, ShareGPT", {"conversations": SHARED * 2}, "sharegpt", "uaua"),
    ("torchtune, chat datasets", {"conversations": [{"from": "system", "value": S}, *SHARED]}, "sharegpt", "sua"),
    ("torchtune, instruct datasets", {"input": Q, "output": A}, "prompt-completion", "ua"),
    ("OpenAI fine-tuning, chat with weights", {"messages": [*TURNS[:1], {**TURNS[1], "weight": 0}, *TURNS[:1], {**TURNS[1], "weight": 1}]}, "messages", "uaua"),
    (
        "OpenAI fine-tuning, tools",
        {
            "messages": [TURNS[0], {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "distance", "arguments": '{"to": "moon"}'}}]}],
            "tools": [{"type": "function", "function": TOOL}],
        },
        "messages",
        "ua",
    ),
    ("OpenAI fine-tuning, functions", {"messages": [TURNS[0], {"role": "assistant", "content": None, "function_call": {"name": "distance", "arguments": "{}"}}], "functions": [TOOL]}, "messages", "ua"),
    ("OpenAI fine-tuning, preference", {"input": {"messages": TURNS[:1]}, "preferred_output": TURNS[1:], "non_preferred_output": TURNS[1:]}, REFUSED, "preference data"),
    ("Gemini API, tuning", {"systemInstruction": {"role": "system", "parts": [{"text": S}]}, "contents": [{"role": "user", "parts": [{"text": Q}]}, {"role": "model", "parts": [{"text": A}]}]}, "messages", "sua"),
    ("Amazon Bedrock, conversation", {"schemaVersion": "bedrock-conversation-2024", "system": [{"text": S}], "messages": [{"role": "user", "content": [{"text": Q}]}, {"role": "assistant", "content": [{"text": A}]}]}, "messages", "sua"),
    ("Together AI, preference of texts", {"messages": [*TURNS, *TURNS], "id": 3}, "messages", "uaua"),
    ("MLX LM, completions", {"prompt": Q, "completion": A}, "prompt-completion", "ua"),
    ("ms-swift, query and response", {"system": S, "query": Q, "response": A, "history": [["Hi", "Hello"]]}, "prompt-completion", "suaua"),
    ("XTuner, multi-turn", {"conversation": [{"system": S, "input": Q, "output": A}, {"input": Q, "output": A}]}, "messages", "suaua"),
    ("Firefly", {"conversation_id": 1, "conversation": [{"human": Q, "assistant": A}]}, "messages", "ua"),
    ("Cohere, chat fine-tuning", {"messages": [{"role": "System", "content": S}, {"role": "User", "content": Q}, {"role": "Chatbot", "content": A}]}, "messages", "sua"),
    ("NeMo, chat", {"system": S, "mask": "User", "conversations": [{"from": "User", "value": Q}, {"from": "Assistant", "value": A}]}, "sharegpt", "sua"),
]  # fmt: skip

OWN: list[tuple[str, dict[str, Any], str, str]] = [
    ("Dolly's fields", {"instruction": Q, "context": "Space.", "response": A, "category": "qa"}, "alpaca", "ua"),
    ("the fields of UltraFeedback", {"prompt": Q, "messages": TURNS, "chosen": TURNS, "rejected": TURNS}, "messages", "ua"),
    ("text beside the fields that made it", {"instruction": Q, "output": A, "text": f"{Q} {A}"}, "alpaca", "ua"),
    ("several texts", {"title": "Moon", "text": A, "url": "x"}, "text", ""),
    ("messages as JSON in a string", {"messages": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'}, "messages", "ua"),
    ("columns that are null", {"messages": None, "instruction": Q, "input": None, "output": A}, "alpaca", "ua"),
    ("an answer that is null", {"instruction": Q, "output": None}, "alpaca", ""),
    ("no messages", {"messages": []}, "messages", ""),
    ("parts of text", {"messages": [{"role": "user", "content": [{"type": "text", "text": Q}]}, TURNS[1]]}, "messages", "ua"),
    ("a part that is an image", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, TURNS[1]]}, REFUSED, "image_url"),
    ("a role that is unknown", {"messages": [{"role": "narrator", "content": Q}, TURNS[1]]}, REFUSED, "narrator"),
    ("a message without a content", {"messages": [{"role": "user"}, TURNS[1]]}, REFUSED, "no content"),
    ("a message that is a string", {"messages": [Q, TURNS[1]]}, REFUSED, "a message is str"),
    ("a number as an answer", {"question": Q, "answer": 3}, REFUSED, "not a string"),
    ("a prompt of messages and an answer", {"prompt": [*TURNS, TURNS[0]], "response": A}, "prompt-completion", "uaua"),
    ("one message", {"role": "user", "content": Q}, REFUSED, "one message with a role"),
    ("chat, with reasoning", {"chat": [TURNS[0], {**TURNS[1], "reasoning_content": "Hm."}]}, "messages", "ua"),
]  # fmt: skip
