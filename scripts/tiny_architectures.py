"""Make a tiny configuration of any causal language model type of transformers.

The fields of the default configuration are shrunk by their names. `CHANGES` lists the types for which that is not enough.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

Values = dict[str, Any]

VOCABULARY = 258  # of the byte tokenizer: 256 ends a text, 257 is padding
POSITIONS = 64
LAYERS = 4
WINDOW = 8
# The first pattern that matches the whole name of a field decides. Values that are smaller already are kept.
SIZES: tuple[tuple[str, int], ...] = (
    (r"(bos|eos|sep|cls|decoder_start)_token_id", 256),
    (r"pad_token_id", 257),
    (r".*(token_id|token_index)|mask_index", 255),
    (r".*vocab_size(_per_layer_input)?", VOCABULARY),
    (r".*max_position_embeddings|n_positions|n_ctx|max_seq_len|model_max_length|context_length", POSITIONS),
    (r"sliding_window(_size)?|local_attention(_window_len)?|attention_window_size", WINDOW),
    (r"num_experts_per_tok(en)?|moe_topk|moe_k|top_k_experts", 2),
    (r"n_group|topk_group|num_expert_group|n_groups|(n|num)_shared_experts", 1),
    (r".*(experts|expert_num)", 4),
    (r".*rank", 16),
    (r".*(rope_head_dim|rotary_dim)", 4),
    (r".*(head_dim|d_kv|d_head|kv_channels|head_size|dim_head)", 8),
    (r".*(kv_heads|key_value_heads|query_groups)", 2),
    (r".*(heads|n_head)", 4),
    (r"num_kv_shared_layers", 2),
    (r".*layers?|num_blocks", LAYERS),
    (r"hidden_size_per_layer_input", 8),
    (r"(moe|expert|shared).*(intermediate|ffn).*", 16),
    (r".*(intermediate|ffn|feed_forward).*|dff|n_inner|dim_ff", 48),
    (r".*(hidden_size|embedding_size|embed_dim|embedding_dim)|d_model|n_embd|dim|emb_dim", 32),
)
PATTERNS = tuple((re.compile(pattern), size) for pattern, size in SIZES)
KEPT = ("rope_parameters", "rope_scaling", "id2label", "label2id")
WINDOWED = ("full_attention", "sliding_attention")
ASSISTANT = {"model_type": "gemma4_text", "num_hidden_layers": 4, "hidden_size": 32, "vocab_size": VOCABULARY}
ASSISTANT |= {
    "hidden_size_per_layer_input": 0,
    "intermediate_size": 48,
    "num_kv_shared_layers": 4,
    "vocab_size_per_layer_input": 0,
}
LATENT = {"head_dim": 4, "num_key_value_heads": 4}  # its head_dim is the rotated part of a head
CHANGES: dict[str, Values] = {
    "axk1": LATENT,
    "deepseek_v2": LATENT | {"num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
    "deepseek_v3": LATENT,
    "cohere_compass_text": {
        "layer_types": ["full_attention", "sliding_attention"] * 2,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in WINDOWED},
    },
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "dory": {
        **{"num_hidden_layers": 4, "n_input_layers": 1, "n_recurrent_layers": 2, "n_output_layers": 1},
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "dots3_note": {"text_config": LATENT},
    "dots3_note_text": LATENT,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "gemma4_assistant": {"text_config": ASSISTANT},
    "glm4_moe_lite": LATENT,
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": LATENT | {"qk_head_dim": 12},
    "minicpm3": LATENT,
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "sarvam_mla": LATENT,
    "xmod": {"default_language": "en_XX"},
    "youtu": LATENT,
}


def model_types() -> list[str]:
    """The types of the causal language models of the installed transformers, in alphabetical order."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def default(model_type: str) -> Any:
    """The default configuration of a type. Models of that size are not built here."""
    return CONFIG_MAPPING[model_type]()


def tiny(model_type: str) -> Any:
    """A configuration of this type for a model with some ten thousand parameters and the byte tokenizer's vocabulary."""
    kind: Any = CONFIG_MAPPING[model_type]
    try:
        values = shrunk(default(model_type).to_dict())
    except StrictDataclassClassValidationError:
        values = {}  # some defaults contradict each other
    return kind(**_merged(values, CHANGES.get(model_type, {})))


def shrunk(values: Values) -> Values:
    """The values of a configuration that have to change so that its model becomes tiny."""
    changed = _by_layer(values)
    for name, value in values.items():
        if name in changed or name in KEPT:
            continue
        if isinstance(value, dict):
            if inner := shrunk(value):
                changed[name] = {key: value[key] for key in ("model_type",) if key in value} | inner
        elif isinstance(value, int) and not isinstance(value, bool) and (size := _size(name)) is not None:
            changed[name] = min(value, size)
    return changed


def _size(name: str) -> int | None:
    return next((size for pattern, size in PATTERNS if pattern.fullmatch(str(name))), None)


def _by_layer(values: Values) -> Values:
    """Settings with an entry for each layer, cut to the layers that are kept."""
    layers = values.get("num_hidden_layers")
    if not isinstance(layers, int) or layers <= LAYERS:
        return {}
    kept = _layers(values.get("layer_types") or [None] * layers)
    cut: Values = {}
    for name, value in values.items():
        if isinstance(value, list) and len(value) == layers:
            entries = [value[layer] for layer in kept]
            cut[name] = [shrunk({name: entry}).get(name, entry) for entry in entries]
        elif name == "per_layer_config" and value:
            own = {new: value[old] for new, old in enumerate(kept) if old in value}
            cut[name] = {layer: config | shrunk(config) for layer, config in own.items()}
    return cut


def _layers(kinds: list[Any]) -> list[int]:
    """The layers to keep: the first of each kind, then the second of each, and so on."""
    seen: dict[Any, int] = {}
    turn = []
    for layer, kind in enumerate(kinds):
        seen[kind] = seen.get(kind, -1) + 1
        turn.append((seen[kind], layer))
    return [layer for _, layer in sorted(turn)[:LAYERS]]


def _merged(values: Values, changes: Values) -> Values:
    return values | {
        name: _merged(values[name], value) if isinstance(value, dict) and name in values else value
        for name, value in changes.items()
    }


def switching(config: Any, rotated: int) -> Any | None:
    """The same configuration with rotary positions that switch to other frequencies in the middle of a text.

    None if its positions are not rotary.

    Args:
        rotated: number of frequencies.
    """
    changed = copy.deepcopy(config)
    text = changed.get_text_config()
    parameters = getattr(text, "rope_parameters", None)
    if not parameters:
        return None
    longrope = {
        "rope_type": "longrope",
        "short_factor": [1.0] * rotated,
        "long_factor": [4.0] * rotated,
        "original_max_position_embeddings": POSITIONS // 4,
        "factor": 4.0,
    }
    for each in [parameters] if "rope_type" in parameters else list(parameters.values()):
        if isinstance(each, dict):  # a type of layer may have no positions
            each.update(longrope)
    text.original_max_position_embeddings = POSITIONS // 4
    return changed
