"""Measures the memory of two training steps in this process: reads a request from stdin, writes {"bytes": N} to stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

import psutil
import torch
from transformers import AutoConfig

from doctor.bounded import parse_json
from trainer import building
from trainer.attention import huggingface
from trainer.config import TrainConfig
from trainer.data import Batch
from trainer.device import peak_memory_bytes
from trainer.learning.optimizer import make_optimizer
from trainer.models import model_attention
from trainer.planning.step import BACKEND, planned_precision
from trainer.survival.memory_estimate import OVERHEAD

STEPS = 2  # the second has the optimizer's state from its beginning


def measure(config: TrainConfig, model_config: Any, device: torch.device) -> int:
    """Bytes of a new model with new weights and its step: of the GPU's allocator and its context, or of the process."""
    before = psutil.Process().memory_info().rss
    windows = model_attention.requested_windows(config.model, model_config)
    huggingface.attach(model_config, backend=BACKEND, window=windows)
    built = building.build_for_estimate(
        config, model_config, planned_precision(config), config.model.gradient_checkpointing, device
    )
    network = built.network.to(device).train()
    optimizer = make_optimizer(network, config.training)
    shape = (config.training.batch_size, config.data.max_length)
    for _ in range(STEPS):
        tokens = torch.randint(0, model_config.get_text_config().vocab_size, shape, device=device)
        documents = torch.zeros_like(tokens) if config.data.packing else None
        for part in built.objective.parts(Batch(tokens, tokens, documents)):
            torch.autograd.backward(part.loss / tokens.numel())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) + OVERHEAD["cuda"]
    return peak_memory_bytes(device) - before


def main() -> None:
    request = parse_json(sys.stdin.read())
    config = TrainConfig.model_validate(request["config"])
    of_model = dict(request["model_config"])
    model_config = AutoConfig.for_model(of_model.pop("model_type"), **of_model)
    sys.stdout.write(
        json.dumps({"bytes": measure(config, model_config, torch.device(request["device"]))}) + "\n"
    )


if __name__ == "__main__":
    main()
