"""HRM ACT v1 (Hierarchical Reasoning Model, arXiv 2506.21734) as a causal language model of transformers.

Two modules process the same tokens: L runs `l_cycles` times, then H once, and this repeats `h_cycles` times. That is a
segment. Its final states are the initial states of the next one, up to `halt_max_steps`, and every position halts by
itself: see `halting`. All positions are still computed, since later ones attend to them; halting selects the answer. Only
the last run of L and of H has a gradient (the paper's one-step approximation), and none flows between segments.

Shapes: B sequences of S tokens, hidden size D, vocabulary V.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import AutoConfig, AutoModelForCausalLM, Cache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_causal_mask
from transformers.utils.generic import ModelOutput

from trainer.attention.kv_cache import make_cache
from trainer.hrm.configuration import MODEL_TYPE, HRMConfig
from trainer.hrm.halting import halts
from trainer.hrm.layers import ReasoningModule, Rotation, rotation_of

Pretrained: Any = PreTrainedModel  # its methods are not typed
INITIAL_Q = -5.0  # as in the paper's code: a probability of nearly 0, so no position halts
TRUNCATED_STD = 0.8796  # standard deviation of a standard normal truncated at 2
ALL = slice(None)
# transformers 5.24 renamed it
CACHE_ARGUMENT = "cache" if "cache" in inspect.signature(create_causal_mask).parameters else "past_key_values"


class Carry(NamedTuple):
    """The input of the next segment: the states (B, S, D) of both modules, and the number of segments so far."""

    z_h: Tensor | None = None
    z_l: Tensor | None = None
    segment: int = 0


class Segment(NamedTuple):
    """The output of a segment: H's state with a gradient, the carry without, and the Q-values (B, S)."""

    hidden: Tensor
    carry: Carry
    q_halt: Tensor
    q_continue: Tensor


@dataclass
class HRMOutput(ModelOutput):
    """The output of the model.

    Attributes:
        loss: () mean cross-entropy, if labels were given.
        logits: (B, S, V), from the segment in which each position halted.
        past_key_values, cache: the keys and values, under the name that this release of transformers reads.
        used_segments: (B, S), the number of that segment, counted from 1.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    cache: Cache | None = None
    used_segments: Tensor | None = None


class HRMPreTrainedModel(Pretrained):  # type: ignore[misc]
    config: HRMConfig
    config_class = HRMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ("HRMBlock",)
    _skip_keys_device_placement = ("past_key_values", "cache")
    _supports_sdpa = True
    _supports_attention_backend = True

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # a layer runs several times, each with its own keys and values

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Truncated normal (at two standard deviations) with variance 1 / number of inputs."""
        if isinstance(module, HRMModel):
            _normal(module.z_h, 1.0)
            _normal(module.z_l, 1.0)
        elif module is getattr(self, "q_head", None):
            init.zeros_(module.weight)
            init.constant_(module.bias, INITIAL_Q)
        elif isinstance(module, nn.Linear):
            _normal(module.weight, module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            _normal(module.weight, module.embedding_dim**-0.5)


class HRMModel(HRMPreTrainedModel):
    """Both modules; one call is one segment."""

    def __init__(self, config: HRMConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.pos_encodings == "learned":
            self.embed_positions = nn.Embedding(config.max_position_embeddings or 0, config.hidden_size)
        self.l_module = ReasoningModule(config, 0, config.l_layers)
        self.h_module = ReasoningModule(config, config.l_layers, config.h_layers)
        self.register_buffer("z_h", torch.empty(config.hidden_size))
        self.register_buffer("z_l", torch.empty(config.hidden_size))
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        carry: Carry,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor, int]:
        """Run the next segment. Returns the final states of H and L, and the number of segments so far."""
        past = 0 if past_key_values is None else past_key_values.get_seq_length(self._slot(carry.segment))
        positions = torch.arange(past, past + input_ids.shape[1], device=input_ids.device)[None]
        tokens = self._embed(input_ids, positions)
        how = {
            "rotation": self._rotation(positions, tokens.dtype),
            "attention_mask": attention_mask,
            "cache": past_key_values,
            **others,
        }
        z_h: Tensor = self.z_h.expand_as(tokens) if carry.z_h is None else carry.z_h
        z_l: Tensor = self.z_l.expand_as(tokens) if carry.z_l is None else carry.z_l
        slot, cycles = self._slot(carry.segment), self.config.h_cycles * self.config.l_cycles
        for run in range(1, cycles + 1):
            with torch.set_grad_enabled(torch.is_grad_enabled() and run == cycles):
                z_l = self.l_module(z_l, z_h + tokens, slot, **how)
                slot += self.config.l_layers
                if run % self.config.l_cycles == 0:
                    z_h = self.h_module(z_h, z_l, slot, **how)
                    slot += self.config.h_layers
        return z_h, z_l, carry.segment + 1

    def _slot(self, segment: int) -> int:
        """The first cache entry of a segment."""
        return segment * len(self.config.cache_layers) // self.config.halt_max_steps

    def _embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Token embeddings (B, S, D), with a variance of about 1."""
        embedded: Tensor = self.embed_tokens(input_ids)
        if self.config.pos_encodings == "learned":
            embedded = (embedded + self.embed_positions(positions)) / math.sqrt(2)
        return embedded * math.sqrt(self.config.hidden_size)

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation | None:
        if self.config.pos_encodings != "rope":
            return None
        return rotation_of(positions, self.config.head_dim, self.config.rope_theta, dtype)


class HRMForCausalLM(HRMPreTrainedModel, GenerationMixin):
    """Runs segments until every position has halted, and predicts the next token."""

    def __init__(self, config: HRMConfig) -> None:
        super().__init__(config)
        self.model = HRMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.q_head = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        **others: Any,
    ) -> HRMOutput:
        """The logits of the token after each position.

        Args:
            input_ids: (B, S).
            attention_mask: (B, all tokens so far), 0 for padding.
            past_key_values, cache: from `make_cache`; both names mean the same.
            labels: (B, S), shifted here; -100 is ignored.
            logits_to_keep: number of last positions; 0 for all.
            others: arguments of attention, such as document_ids.
        """
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = make_cache(self.config)
        named: dict[str, Any] = {CACHE_ARGUMENT: cache}
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=self.model.embed_tokens.weight.new_empty(*input_ids.shape, 1),
            attention_mask=attention_mask,
            position_ids=None,
            **named,
        )
        kept = slice(-logits_to_keep or None, None)
        answer, used = self.think(input_ids, kept, attention_mask=mask, past_key_values=cache, **others)
        logits = self.lm_head(answer)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return HRMOutput(loss, logits, used_segments=used, **named)

    def segment(self, input_ids: Tensor, carry: Carry, **others: Any) -> Segment:
        """Run the next segment; an empty carry starts the first."""
        z_h, z_l, count = self.model(input_ids, carry, **others)
        q_halt, q_continue = self.q_head(z_h).unbind(-1)
        return Segment(z_h, Carry(z_h.detach(), z_l.detach(), count), q_halt, q_continue)

    def think(
        self,
        input_ids: Tensor,
        kept: slice = ALL,
        past_key_values: Cache | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor]:
        """The state (B, S, D) in which each kept position halted, and the number of segments it took.

        Segments end when all kept positions have halted. With a cache all run, since a later token may need their keys.
        """
        now = self.segment(input_ids, Carry(), past_key_values=past_key_values, **others)
        answer, used = now.hidden[:, kept], torch.ones_like(input_ids[:, kept])
        halted = halts(now.q_halt, now.q_continue)[:, kept]
        for _ in range(1, self.config.halt_max_steps):
            if past_key_values is None and bool(halted.all()):
                break
            now = self.segment(input_ids, now.carry, past_key_values=past_key_values, **others)
            answer = torch.where(halted[..., None], answer, now.hidden[:, kept])
            used = used + ~halted
            halted = halted | halts(now.q_halt, now.q_continue)[:, kept]
        return answer, used


def _normal(tensor: Tensor, std: float) -> None:
    scale = std / TRUNCATED_STD
    init.trunc_normal_(tensor, std=scale, a=-2 * scale, b=2 * scale)


AutoConfig.register(MODEL_TYPE, HRMConfig)
AutoModelForCausalLM.register(HRMConfig, HRMForCausalLM)
