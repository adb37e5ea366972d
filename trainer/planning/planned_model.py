"""The model that a plan is made for: its transformers configuration, from a folder, a file, the cache or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.models import hub, model, rope, tokenizer, trial, vocabulary

CausalLM: Any = AutoModelForCausalLM


def model_config_of(config: TrainConfig) -> Any:
    """The configuration of the model that a run would train.

    Raises:
        UserError: there is no such model, or it cannot be trained here.
    """
    if config.model.name is None:
        text = tokenizer.load(config.model.tokenizer, None)
        found = model.make_config(config.model.architecture or {}, text)
    else:
        found = read(config.model.name)
    trial.check_quantization(found)
    return found


def read(name: str) -> Any:
    """The configuration in a folder or file, or of a Hugging Face id in the cache. No weights are needed."""
    path = Path(name)
    if path.is_file():
        try:
            config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the type depends on what the file contains
            raise UserError(
                f"{path.absolute()} is not a model configuration of transformers: {trial.first_line(error)}"
            ) from error
        trial.check_text_model(config)
        return config
    return model.read_config(hub.local_copy(name, "--model"))


def describe(name: str, config: Any) -> dict[str, Any]:
    """What a plan says about a model."""
    with trial.refusals(config), torch.device("meta"):
        network = CausalLM.from_config(config, trust_remote_code=False)
    text = config.get_text_config(decoder=True)
    return {
        "name": name,
        "type": config.model_type,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "layers": getattr(text, "num_hidden_layers", None),
        "vocabulary": vocabulary.rows(config),
        "positions": rope.max_length(config),
    }
