"""Runs in a Python that has llama-cpp-python, which is not installed beside aios: computes what its command line asks for.

The arguments are two files: the questions, a JSON list of objects with `file`, `tokens`, `count` and `text`, and the answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CONTEXT = 256  # the smallest context of llama.cpp


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The logits of the tokens, the `count` most likely tokens after them, and the tokens of the text."""
    from llama_cpp import Llama  # type: ignore[import-not-found]

    options = {"logits_all": True, "verbose": False, "n_threads": 1, "n_batch": CONTEXT}
    model = Llama(model_path=question["file"], n_ctx=CONTEXT, **options)
    tokens = list(question["tokens"])
    model.eval(tokens)
    logits = model.scores[: len(tokens)].tolist()
    new: list[int] = []
    for _ in range(question["count"]):
        new.append(int(model.scores[model.n_tokens - 1].argmax()))
        model.eval(new[-1:])
    pieces = model.tokenize(question["text"].encode(), add_bos=True, special=True)
    return {
        "logits": logits,
        "new": new,
        "pieces": pieces,
        "template": model.metadata.get("tokenizer.chat_template"),
    }


if __name__ == "__main__":
    questions = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps([answer(each) for each in questions]), encoding="utf-8")
