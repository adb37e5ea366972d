"""The keys of the model section for LoRA, and for the frozen weights beside it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from trainer.config.section import Section


def _names(value: Any) -> Any:
    """Parse a list of names from the command line, such as q_proj,v_proj. Other values are returned unchanged."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...] | None, BeforeValidator(_names)]


class LoraKeys(Section):
    use_peft: bool = Field(
        default=False,
        description="Train with LoRA: freeze the model and train small adapter matrices. Checkpoints contain only the "
        "adapter.",
    )
    lora_r: int = Field(
        default=16, ge=1, description="LoRA rank: the inner dimension of the adapter matrices."
    )
    lora_alpha: int = Field(
        default=32, ge=1, description="LoRA scaling: the update is multiplied by lora_alpha / lora_r."
    )
    lora_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout probability on the input of the LoRA layers."
    )
    lora_target_modules: Names = Field(
        default=None,
        description="Layers to adapt, by the end of their names, for example q_proj,v_proj. Default: all linear layers "
        "except the output layer.",
    )
    lora_modules_to_save: Names = Field(
        default=None,
        description="Layers to train whole and to save with the adapter, by the end of their names, for example "
        "embed_tokens,lm_head.",
    )
    lora_use_rslora: bool = Field(
        default=False,
        description="Rank-stabilized LoRA: multiply the update by lora_alpha / sqrt(lora_r), which suits high ranks.",
    )
    lora_use_dora: bool = Field(
        default=False,
        description="DoRA: also train the magnitude of each output of the adapted layers. Slower than LoRA.",
    )
    load_in_4bit: bool = Field(
        default=False,
        description="QLoRA: quantize the frozen weights to 4 bits (NF4, double quantization) while they are loaded. "
        "Requires use_peft and bitsandbytes.",
    )
    load_in_8bit: bool = Field(
        default=False,
        description="Quantize the frozen weights to 8 bits (LLM.int8()) while they are loaded. Requires use_peft and "
        "bitsandbytes.",
    )

    @property
    def weight_bits(self) -> int | None:
        """The number of bits that frozen weights are quantized to; None if they are not."""
        return 4 if self.load_in_4bit else 8 if self.load_in_8bit else None
