"""Find a model or tokenizer by name: a local folder or the Hugging Face cache. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import UserError


def local_copy(name: str, key: str) -> Path:
    """The folder of a model or tokenizer.

    Args:
        name: a folder, or a Hugging Face id such as "gpt2" or "nvidia/nemotron-3-8b-base-4k".
        key: its name in the configuration, for the error message.

    Raises:
        UserError: it was not found.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise UserError(
            f"{key} = {name!r} was not found. Looked in:\n"
            f"  local folder:            {folder.absolute()}\n"
            f"  the Hugging Face cache:  {HF_HUB_CACHE}\n"
            f"aios does not download models. Run `hf download {name}` to fill the cache, name a local folder, or train "
            "a small model from scratch (model.architecture), which needs no download."
        ) from None
