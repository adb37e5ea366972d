"""The configuration of an HRM ACT v1 model, for transformers."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedConfig

Pretrained: Any = PreTrainedConfig  # its methods are not typed
MODEL_TYPE = "hrm_act_v1"
POSITIONS = ("rope", "learned")


class HRMConfig(Pretrained):  # type: ignore[misc]
    """Sizes and halting of HRM ACT v1 (arXiv 2506.21734).

    Attributes:
        l_layers, h_layers: layers of the fast module L and of the slow module H.
        l_cycles: runs of L before each run of H.
        h_cycles: runs of H in a segment.
        expansion: width of the feed-forward network in hidden sizes, before SwiGLU's factor of two thirds.
        pos_encodings: rope or learned.
        max_position_embeddings: only for learned positions.
        halt_max_steps: largest number of segments.
        halt_exploration_prob: in training, the probability that a token takes a random minimum of segments.
    """

    model_type = MODEL_TYPE
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values", "cache", "carry"]
    attribute_map: ClassVar[dict[str, str]] = {"num_heads": "num_attention_heads"}

    vocab_size: int = 258
    hidden_size: int = 512
    num_attention_heads: int = 8
    expansion: float = 2.0
    h_layers: int = 2
    l_layers: int = 2
    h_cycles: int = 2
    l_cycles: int = 2
    pos_encodings: str = "rope"
    rope_theta: float = 10000.0
    max_position_embeddings: int | None = None
    rms_norm_eps: float = 1e-5
    halt_max_steps: int = 2
    halt_exploration_prob: float = 0.1
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **others: Any) -> None:
        self._validate()
        super().__post_init__(**others)

    @property
    def num_hidden_layers(self) -> int:
        """Layers with their own weights: first those of L, then those of H."""
        return self.l_layers + self.h_layers

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def intermediate_size(self) -> int:
        """Two thirds of the expansion, since SwiGLU has three matrices instead of two; rounded up to a multiple of 64."""
        return -(-round(self.expansion * self.hidden_size * 2 / 3) // 64) * 64

    @property
    def cache_layers(self) -> tuple[int, ...]:
        """The layer of each entry of a key-value cache: one entry for each run of a layer."""
        low, high = range(self.l_layers), range(self.l_layers, self.num_hidden_layers)
        cycle = (*[*low] * self.l_cycles, *high)
        return cycle * self.h_cycles * self.halt_max_steps

    def _validate(self) -> None:
        for name in ("h_layers", "l_layers", "h_cycles", "l_cycles", "halt_max_steps", "num_attention_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        if self.hidden_size % self.num_attention_heads or self.head_dim % 2:
            raise ValueError(
                f"hidden_size = {self.hidden_size} cannot be split into {self.num_attention_heads} heads of equal, even size"
            )
        if self.pos_encodings not in POSITIONS:
            raise ValueError(f"pos_encodings = {self.pos_encodings!r}: must be one of {', '.join(POSITIONS)}")
        if self.pos_encodings == "learned" and not self.max_position_embeddings:
            raise ValueError(
                "pos_encodings = 'learned' needs max_position_embeddings, the length of the longest sequence"
            )
        if not 0 <= self.halt_exploration_prob <= 1:
            raise ValueError(f"halt_exploration_prob = {self.halt_exploration_prob}: must be between 0 and 1")
