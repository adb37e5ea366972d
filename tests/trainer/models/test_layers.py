"""A configuration with more layers than any model has is refused at once: building it would not end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.errors import UserError
from trainer.models import model
from trainer.models.tokenizer import ByteTokenizer


@pytest.mark.parametrize(("model_type", "key"), [("gpt2", "n_layer"), ("llama", "num_hidden_layers")])
@pytest.mark.parametrize("layers", [10**6, 10**12])
def test_too_many_layers_of_an_architecture_are_refused(model_type: str, key: str, layers: int) -> None:
    with pytest.raises(UserError, match=f"{key} = {layers}. At most 10,000 layers"):
        model.make_config({"model_type": model_type, key: layers}, ByteTokenizer())


@pytest.mark.parametrize("nested", [False, True])
def test_too_many_layers_in_a_model_folder_are_refused(tmp_path: Path, nested: bool) -> None:
    layers = {"num_hidden_layers": 10**12}
    config = {"model_type": "gemma3", "text_config": layers} if nested else {"model_type": "llama", **layers}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="At most 10,000 layers"):
        model.read_config(tmp_path)
