"""Builds the model of a run on its device, and proves which tokens see each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from trainer import chunking
from trainer.attention import model_proof
from trainer.attention.call_trace import TracedCall
from trainer.attention.model_proof import ModelProof
from trainer.attention.pattern import Windows
from trainer.config import WITH_REFERENCE, TrainConfig
from trainer.data import Dataset
from trainer.device import Precision
from trainer.distributed import agreement, shard_files
from trainer.distributed.processes import Processes
from trainer.early_checks import NAME_KEY
from trainer.errors import UserError
from trainer.hrm.configuration import HRMConfig
from trainer.learning.chunks import Chunked
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.objective import NextToken, Objective
from trainer.learning.offload import Offloaded
from trainer.learning.preference import Preference
from trainer.learning.sharded_objective import ShardedObjective, Shards
from trainer.learning.state import MemorySettings
from trainer.models import hub, lora, model, quantization, sharded_model, trial, vocabulary
from trainer.models.sharded_model import ShardedModel
from trainer.start import Start


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is known before the model is built.

    Attributes:
        windows: the configured ones, in addition to the model's own.
        calls: how the model calls attention; empty if that is not known yet.
    """

    config: TrainConfig
    processes: Processes
    device: torch.device
    precision: Precision
    start: Start
    windows: Windows
    calls: tuple[TracedCall, ...]
    dataset: Dataset
    memory: MemorySettings

    @property
    def sharded(self) -> bool:
        return self.config.training.sharding != "none" and self.processes.count > 1

    @property
    def per_copy(self) -> int:
        """The number of processes that share one copy of the model."""
        processes = self.processes
        return {"none": 1, "full": processes.count, "hybrid": processes.local_count}[
            self.config.training.sharding
        ]


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """The model, ready to be trained.

    Attributes:
        shards: None if this process holds the whole model.
        warnings: about its weights and its output layer.
        notes: lines to show that are no warnings.
    """

    network: Any
    objective: Objective
    shards: Shards | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def build_for_estimate(
    config: TrainConfig, model_config: Any, precision: Precision, checkpointed: bool, device: torch.device
) -> BuiltModel:
    """Build the model as it is trained, with new weights; quantized ones have their size, but no values."""
    model_settings = config.model
    network, _ = model.build(model_config, None, config.training.seed, _weights_dtype(config, precision))
    if model_settings.weight_bits:
        quantization.stand_in(network, model_settings.weight_bits)
    if model_settings.use_peft:
        lora.add(network, model_settings)
    copy = None
    if needs_copy(config):
        copy = _frozen(model.build(model_config, None, config.training.seed, precision.dtype)[0])
    objective = _objective(network, config, model_config, precision, checkpointed, device, copy)
    return BuiltModel(network=network, objective=objective)


def _build(setup: Setup) -> BuiltModel:
    """Build the model with its weights: on the CPU, or on the device if they are quantized."""
    config, start = setup.config, setup.start
    dtype, bits = _weights_dtype(config, setup.precision), config.model.weight_bits
    if bits:
        assert start.weights is not None, "new weights are not quantized"
        network, warnings = model.build_quantized(
            start.model_config, start.weights, config.training.seed, dtype, bits, setup.device
        )
    else:
        network, warnings = model.build(start.model_config, start.weights, config.training.seed, dtype)
    if config.model.resize_token_embeddings and start.weights:
        warnings = [*warnings, *vocabulary.grow(network, start.tokenizer)]
    if config.model.use_peft and start.checkpoint:
        lora.load(network, start.checkpoint)
    elif config.model.use_peft:
        lora.add(network, config.model)
    objective = _objective_of(setup, network)
    return BuiltModel(network=network, objective=objective, warnings=tuple(warnings))


def needs_copy(config: TrainConfig) -> bool:
    """Whether the loss compares with a frozen copy of the model before training. With an adapter, that is the model itself."""
    return config.training.loss in WITH_REFERENCE and not config.model.use_peft


def _copy(setup: Setup) -> Any | None:
    """The model before training, frozen, on the device. A resumed run loads it from the folder of the base model again."""
    config = setup.config
    if not needs_copy(config):
        return None
    folder = hub.local_copy(str(config.model.name), NAME_KEY)
    network, _ = model.build(setup.start.model_config, folder, config.training.seed, setup.precision.dtype)
    return _frozen(network).to(setup.device)


def _frozen(network: Any) -> Any:
    network.requires_grad_(False)
    return network.eval()


def _weights_dtype(config: TrainConfig, precision: Precision) -> torch.dtype:
    """Frozen weights never change, so they can have the dtype of the computation. FSDP requires one dtype for all."""
    return precision.dtype if config.model.use_peft and config.training.sharding == "none" else torch.float32


def _objective(
    network: Any,
    config: TrainConfig,
    model_config: Any,
    precision: Precision,
    checkpointed: bool,
    device: torch.device,
    copy: Any | None = None,
) -> Objective:
    """The objective of a run. `copy`: the frozen model that its loss compares with, if it needs one."""
    if checkpointed:
        model.checkpoint_activations(network)
    training = config.training
    if isinstance(model_config, HRMConfig):
        return chunking.as_configured(DeepSupervision(network, precision), training, device)
    objective = NextToken(network, precision)
    if not training.preference:
        return chunking.as_configured(objective, training, device)
    reference = None if copy is None else NextToken(copy, precision)
    preference = Preference(objective, training.loss, training.beta, training.label_smoothing, reference)
    return chunking.as_configured(preference, training, device)


def build_on_device(setup: Setup) -> BuiltModel:
    """Build the model with its weights, shard it if configured, and move it to the device."""
    if setup.sharded:
        return _build_sharded(setup)
    built = _build(setup)
    network = built.network
    setup.processes.check_same_weights(network)
    if not setup.config.model.weight_bits:  # quantized ones are there, and transformers refuses to move them
        network = network.to(setup.device)
    _prove(setup, network, None)
    warnings = (*built.warnings, *_logits_warning(built.objective))
    return BuiltModel(network=network, objective=built.objective, warnings=warnings)


def _build_sharded(setup: Setup) -> BuiltModel:
    """Build a model that the processes share: in parts if that is possible, else as a whole in each process."""
    processes, device = setup.processes, setup.device
    processes.check_sharding(device, setup.config.training.sharding)
    try:
        parts = _build_in_parts(setup)
    except sharded_model.NotInPartsError as reason:
        built = _build(setup)
        processes.check_same_weights(built.network)
        shards = Shards(built.network, device, processes.count, setup.per_copy)
        notes: tuple[str, ...] = (
            f"INFO: each process builds the whole model in its memory before it is sharded: {reason}.",
        )
    else:
        agreement.check_same(processes, "the model that they start with", parts.fingerprint())
        objective = _objective_of(setup, parts.network)
        shards = Shards(parts.network, device, processes.count, setup.per_copy, parts.rows.restore)
        parts.load()
        built, notes = BuiltModel(network=parts.network, objective=objective), ()
    network, objective = built.network.to(device), ShardedObjective(built.objective, shards)
    _prove(setup, network, shards)
    warnings = (*built.warnings, *_logits_warning(objective))
    return BuiltModel(network=network, objective=objective, shards=shards, warnings=warnings, notes=notes)


def _build_in_parts(setup: Setup) -> ShardedModel:
    config, start = setup.config, setup.start
    if config.model.use_peft:
        raise sharded_model.NotInPartsError("an adapter is added to it")
    if config.training.preference:
        raise sharded_model.NotInPartsError(f"training.loss = {config.training.loss}")
    if config.model.resize_token_embeddings and start.weights:
        raise sharded_model.NotInPartsError("rows are added to its embeddings")
    if start.weights and not shard_files.supported():
        raise sharded_model.NotInPartsError(f"torch {torch.__version__} reads only whole weights, 2.9 can")
    rank = setup.processes.rank % setup.per_copy
    return sharded_model.build(start.model_config, start.weights, config.training.seed, rank, setup.per_copy)


def _objective_of(setup: Setup, network: Any) -> Objective:
    config, checkpointed = setup.start.model_config, setup.memory.gradient_checkpointing
    return _objective(
        network, setup.config, config, setup.precision, checkpointed, setup.device, _copy(setup)
    )


def _prove(setup: Setup, network: Any, shards: Shards | None) -> None:
    """Prove on the built model that tokens do not see later ones, other documents, or tokens outside the window.

    Raises:
        UserError: they do.
    """

    def prove() -> ModelProof:
        return model_proof.prove(network)

    config = setup.start.model_config
    with trial.refusals(config):
        proof = shards.forward_of(prove) if shards else prove()
    failures = proof.failures(setup.dataset.packed, windows=any(setup.windows))
    if not failures:
        if setup.config.training.use_chunked_training:
            with trial.refusals(config):
                check = partial(chunking.check_model, network)
                shards.forward_of(check) if shards else check()
        return
    if failures == [proof.isolation]:
        raise UserError(
            f"data.packing puts several documents into a row, but this {config.model_type} model cannot keep them apart: "
            f"{proof.isolation}. Set data.packing: false (--no-packing), which gives each document rows of its own."
        )
    if failures == [proof.windows]:
        raise UserError(
            f"This {config.model_type} model cannot be trained with a window: {proof.windows}. Remove model.window_size and "
            f"model.window_pattern, or choose another model type. {trial.CHOOSE}"
        )
    raise UserError(
        f"A model of the type {config.model_type} cannot be trained here: {'; '.join(failures)}. {trial.CHOOSE}"
    )


def _logits_warning(objective: Any) -> list[str]:
    """Warn if the loss needs all logits of a batch at once."""
    if isinstance(objective, ShardedObjective):
        return objective.shards.forward_of(lambda: _logits_warning(objective.objective))
    if isinstance(objective, (Chunked, Offloaded)):
        return _logits_warning(objective.objective)
    if isinstance(objective, Preference):
        objective = objective.policy
    if not isinstance(objective, NextToken) or objective.output_layer is not None:
        return []
    name = type(objective.model).__name__
    return [
        f"the loss of {name} computes the logits of a whole batch at once (batch x length x vocabulary), because its output "
        "layer is not a plain linear layer or changes its logits in an unknown way. This uses more memory."
    ]
