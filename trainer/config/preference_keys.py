"""The keys of the training section for the loss, and what does not go together with preference losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.config.chunk_keys import ChunkKeys
from trainer.errors import UserError

if TYPE_CHECKING:
    from trainer.config.sections import TrainConfig

LossName = Literal["next_token", "dpo", "ipo", "orpo"]
FORMAT = "preference"  # of the data
WITH_REFERENCE = ("dpo", "ipo")


class LossKeys(ChunkKeys):
    loss: LossName = Field(
        default="next_token",
        description="Loss: next_token; or, on preference data (chosen and rejected answers), dpo, ipo or orpo.",
    )
    beta: float = Field(
        default=0.1,
        gt=0,
        description="Of dpo and ipo, how strongly the model is kept close to the one before training; of orpo, the weight of "
        "the odds ratio.",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="Of dpo, the probability that the chosen and the rejected answer of a pair are swapped.",
    )

    @property
    def preference(self) -> bool:
        """Whether the loss compares two answers."""
        return self.loss != "next_token"


def as_configured(config: TrainConfig) -> TrainConfig:
    """The configuration with the data settings that a preference loss implies.

    Raises:
        UserError: settings that do not go together with the loss.
    """
    training, data = config.training, config.data
    if not training.preference:
        for key in sorted({"beta", "label_smoothing"} & training.model_fields_set):
            raise UserError(
                f"training.{key} has no effect on training.loss = next_token. Set training.loss (--loss) to dpo, ipo or orpo, or "
                f"remove training.{key}."
            )
        if data.data_format == FORMAT:
            raise UserError(
                "data.format = preference needs a loss that compares answers: set training.loss (--loss) to dpo, ipo or orpo."
            )
        return config
    if problem := _problem(config):
        raise UserError(f"training.loss = {training.loss} {problem}")
    return config.model_copy(
        update={"data": data.model_copy(update={"data_format": FORMAT, "packing": False})}
    )


def _problem(config: TrainConfig) -> str | None:
    """What does not go together with a preference loss."""
    training, data, model = config.training, config.data, config.model
    if data.data_format not in ("auto", FORMAT):
        return f"reads preference data, but data.format = {data.data_format}. Remove data.format (--data-format)."
    if data.packing and "packing" in data.model_fields_set:
        return "reads each answer in a row of its own. Remove data.packing (--packing)."
    if data.train_on == "all":
        return "compares answers only. Remove data.train_on (--train-on)."
    if training.use_chunked_training:
        return (
            "needs the probability of a whole answer at once. Remove training.use_chunked_training, or use --gradient-checkpointing "
            "to save memory."
        )
    if training.sharding == "full":
        return "does not support training.sharding = full. Use --sharding none, with LoRA (--use-peft) if memory is short."
    if training.label_smoothing and training.loss != "dpo":
        return "has no label smoothing. Remove training.label_smoothing, or use --loss dpo."
    if training.loss in WITH_REFERENCE and (model.name is None or model.from_scratch):
        return "compares with the model before training, which must be a trained one: set model.name (--name), or use --loss orpo."
    if training.loss in WITH_REFERENCE and model.resize_token_embeddings:
        return "compares with the model before training, which has no rows for new tokens. Remove model.resize_token_embeddings."
    return None
