"""A small model of each architecture, and runs that train it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from trainer import data
from trainer.attention import huggingface
from trainer.config import TrainingSection
from trainer.device import Precision
from trainer.hrm.model import HRMForCausalLM
from trainer.learning import loop
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.objective import NextToken
from trainer.learning.optimizer import make_optimizer
from trainer.learning.position import Position
from trainer.learning.schedule import learning_rate
from trainer.learning.state import Progress, Run
from trainer.learning.step import optimizer_step
from trainer.models.tokenizer import ByteTokenizer

CPU = torch.device("cpu")
TEXT = b"the quick brown fox jumps over the lazy dog, and the dog does not mind. " * 60
_COMMON = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
_COMMON |= {"num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 8}
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    "llama": _COMMON,
    "mistral": _COMMON | {"sliding_window": 11},
    "qwen2": {key: value for key, value in _COMMON.items() if key != "head_dim"},
    "qwen3": _COMMON,
    "gemma2": _COMMON | {"attn_logit_softcapping": None, "sliding_window": 11},
    "gemma3_text": _COMMON | {"sliding_window": 11},
    "hrm_act_v1": {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "h_layers": 1,
        "l_layers": 1,
        "halt_max_steps": 2,
    },
}
SPECIAL = {"vocab_size": 258, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 257}


def model(kind: str = "gpt2", backend: str | None = "sdpa", window: int | None = None, **changes: Any) -> Any:
    config = AutoConfig.for_model(kind, **SPECIAL, **SMALL[kind] | changes)
    if backend:
        huggingface.attach(config, backend=backend, window=window)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, **({} if backend else {"attn_implementation": "eager"})
    )


def run(network: Any, text: bytes = TEXT, length: int = 32, amp: bool = False, **training: Any) -> Run:
    stream = data.stream_of(text, ByteTokenizer(), length)
    settings = TrainingSection(**{"steps": 4, "batch_size": 4, "learning_rate": 1e-3, **training})
    learning = DeepSupervision if isinstance(network, HRMForCausalLM) else NextToken
    precision = Precision(torch.bfloat16 if amp else torch.float32)
    return Run(
        model=network,
        objective=learning(network, precision),
        tokenizer=ByteTokenizer(),
        optimizer=make_optimizer(network, settings),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        dataset=data.Dataset(stream, None, 0.0, 0.0),
        training=settings,
        device=CPU,
        labels={},
    )


def no_retry(*retry: object) -> None:
    raise AssertionError(f"out of memory: {retry}")


def losses(state: Run) -> list[float]:
    """Train, and return the loss of each step."""
    found, progress = [], Progress()
    state.model.train()
    samples = state.training.batch_size * state.training.gradient_accumulation_steps
    for step in range(1, state.training.steps + 1):
        rate = learning_rate(step, state.training)
        result = optimizer_step(state, progress, loop.batches(state, progress.position), rate, no_retry)
        found.append(result.loss)
        progress.position = Position(step, progress.position.samples + samples)
    return found


def logits(network: Any, tokens: Tensor, **others: Any) -> Tensor:
    with torch.no_grad():
        output: Tensor = network.eval()(input_ids=tokens, use_cache=False, **others).logits
    return output
