"""LoRA adapters, by peft: two small trainable matrices for each frozen one. Hu et al. 2021, arXiv:2106.09685.

Layers are replaced inside the model, so the model keeps its class and works everywhere it did before.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from doctor.bounded import read_json
from doctor.extras import how_to_add, how_to_install
from trainer.config import ModelSection
from trainer.errors import UserError
from trainer.models import hub

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Folder for the base model's config.json with its windows. Next to the adapter, transformers would expect weights with it.
BASE = "base"
NAME = "default"  # peft's name of the adapter
PREFIX = "base_model.model."  # prefix of the parameter names in an adapter's file


def is_adapter(folder: Path) -> bool:
    """Whether a folder contains an adapter of peft, not a model's weights."""
    return (folder / CONFIG).exists()


def base_model_of(folder: Path) -> str:
    """The base model of an adapter: a folder, or a Hugging Face id.

    Raises:
        UserError: the adapter does not name it.
    """
    path = folder / CONFIG
    hub.check_files([path, folder / WEIGHTS])
    try:
        base = read_json(path)["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.absolute()} cannot be read: {error!r}.") from error
    if not base:
        raise UserError(f"{path.absolute()} does not name the base model (base_model_name_or_path).")
    return str(base)


def add(network: Any, settings: ModelSection) -> None:
    """Freeze a model and add a new adapter, which changes nothing until it is trained.

    Raises:
        UserError: the model does not have the target layers.
    """
    assert settings.name is not None, "an adapter needs a base model"
    peft = _peft()
    folder = Path(settings.name)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=[*settings.lora_target_modules] if settings.lora_target_modules else "all-linear",
        modules_to_save=[*settings.lora_modules_to_save] if settings.lora_modules_to_save else None,
        use_rslora=settings.lora_use_rslora,
        use_dora=settings.lora_use_dora,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in network.modules()),  # GPT-2's
    )
    _inject(network, config)
    config.base_model_name_or_path = folder.absolute().as_posix() if folder.is_dir() else settings.name


def load(network: Any, folder: Path) -> None:
    """Freeze a model and load the adapter from a folder into it.

    Raises:
        UserError: the adapter belongs to another model.
    """
    config = _read_config(folder)
    base = config.base_model_name_or_path
    _inject(network, config)
    config.base_model_name_or_path = base
    saved = load_file(folder / WEIGHTS)
    named = _peft().get_peft_model_state_dict(
        network, adapter_parameters(network), NAME, save_embedding_layers=False
    )
    parameters = {PREFIX + name: parameter for name, parameter in named.items()}
    shapes = {name: tensor.shape for name, tensor in saved.items()}
    expected = {name: parameter.shape for name, parameter in parameters.items()}
    different = sorted(name for name in {*shapes, *expected} if shapes.get(name) != expected.get(name))
    if different:
        raise _does_not_fit(folder, base, different)
    for name, parameter in parameters.items():
        parameter.data.copy_(saved[name])


def load_merged(network: Any, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The model with the adapter in a folder merged into its weights. peft loads it, so any adapter of peft works.

    Args:
        dtype: of the weights that change. Layer by layer, they are summed in float32 and rounded to it.

    Raises:
        UserError: the adapter does not fit the model, or is of a kind that cannot be merged.
    """
    peft, config = _peft(), _read_config(folder)
    base = config.base_model_name_or_path
    if config.is_prompt_learning:
        raise UserError(
            f"The adapter in {folder.absolute()} is of the type {config.peft_type.value}, which adds tokens instead of changing "
            "weights. aios cannot use it."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft warns of what is checked here
            adapted = peft.get_peft_model(network, config, NAME)
            loaded = adapted.load_adapter(str(folder), NAME)
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(
            f"peft cannot load the adapter in {folder.absolute()} into its base model {base}: {' '.join(str(error).split())}"
        ) from error
    if different := sorted((*loaded.missing_keys, *loaded.unexpected_keys)):
        raise _does_not_fit(folder, base, different)
    with torch.no_grad():
        for module in adapted.modules():
            if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
                module.float().merge(adapter_names=[NAME])
                base = module.get_base_layer()
                base.weight.data = base.weight.data.to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft warns that the layers are merged already
        merged = adapted.merge_and_unload()
    if hasattr(merged, "peft_config"):
        del merged.peft_config
    return merged


@contextmanager
def disabled(network: Any) -> Iterator[None]:
    """While entered, a network computes without its adapter."""
    peft = _peft()
    kinds = (peft.tuners.tuners_utils.BaseTunerLayer, peft.utils.AuxiliaryTrainingWrapper)
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for layer in layers:
            layer.enable_adapters(enabled=False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)
        for parameter in trained:  # peft has frozen them meanwhile
            parameter.requires_grad_(True)


def adapter_parameters(network: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters of the adapter: those that are trained."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def trained_state(network: Any) -> dict[str, Any]:
    """The tensors of a model that a checkpoint stores: those of its adapter if it has one, otherwise all."""
    state: dict[str, Any] = network.state_dict(keep_vars=True)
    if not getattr(network, "_hf_peft_config_loaded", False):
        return state
    return {name: tensor for name, tensor in state.items() if tensor.requires_grad}


def _read_config(folder: Path) -> Any:
    """The configuration of an adapter. Settings that the installed peft does not know would change the result."""
    peft = _peft()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            config = peft.PeftConfig.from_pretrained(str(folder))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{(folder / CONFIG).absolute()} cannot be read: {error}") from error
    for warning in found:
        if "nexpected" in str(warning.message):
            raise UserError(
                f"The adapter in {folder.absolute()} has settings that peft {version('peft')} does not know: "
                f"{warning.message} To update peft:\n  {how_to_install('--upgrade', 'peft')}"
            )
    return config


def _does_not_fit(folder: Path, base: str, entries: list[str]) -> UserError:
    shown = ", ".join(entries[:3]) + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")
    return UserError(
        f"The adapter in {folder.absolute()} does not fit its base model {base}: these entries are missing in one of the two, "
        f"or have another shape: {shown}. Use the base model that the adapter was trained with."
    )


def _check_versions() -> None:
    """Check that transformers accepts the installed peft; it raises a ValueError deep inside otherwise."""
    from transformers.integrations import peft as integration

    needed = getattr(integration, "MIN_PEFT_VERSION", "0")
    if Version(version("peft")) < Version(needed):
        found = version("transformers")
        raise UserError(
            f"model.use_peft: transformers {found} requires peft {needed} or later, but peft {version('peft')} is installed. To "
            f"update peft:\n  {how_to_install(f'peft>={needed}')}\nIf there is no such release yet, install an older "
            f"transformers:\n  {how_to_install(f'transformers<{found}')}"
        )


def _inject(network: Any, config: Any) -> None:
    _check_versions()
    try:
        network.add_adapter(config, NAME)
    except ValueError as error:
        if "arget" not in str(error):  # not about the target modules
            raise UserError(f"model.use_peft: peft cannot adapt this model: {error}") from error
        kinds = sorted(
            {name.rpartition(".")[2] for name, module in network.named_modules() if _linear(module)}
        )
        raise UserError(
            f"model.lora_target_modules = {config.target_modules}: {str(error).splitlines()[0]} "
            f"This model has: {', '.join(kinds)}."
        ) from None
    for parameter in adapter_parameters(network).values():
        parameter.data = parameter.data.float()  # trained in float32, even if the frozen weights are not


def _broken(error: ImportError) -> UserError:
    installed = f"peft {version('peft')} and transformers {version('transformers')}"
    return UserError(
        f"peft cannot be imported ({error}). {installed} probably do not work together. To update both:\n  "
        f"{how_to_install('--upgrade', 'peft', 'transformers')}"
    )


def _linear(module: Any) -> bool:
    return isinstance(module, (torch.nn.Linear, Conv1D))


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        if error.name != "peft":
            raise _broken(error) from error
        raise UserError(
            f"An adapter needs the package peft, which is not installed. To install it:\n  {how_to_add('train')}"
        ) from error
    except ImportError as error:
        raise _broken(error) from error
    return peft
