"""Where a named model or tokenizer lies: a local folder, or the Hugging Face cache. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import UserError


def local_copy(name: str, key: str) -> Path:
    """The folder that holds a model or tokenizer.

    Args:
        name: a folder, or a Hugging Face id such as "gpt2" or "nvidia/nemotron-3-8b-base-4k".
        key: what the configuration calls it, for the error.

    Raises:
        UserError: it is in neither place.
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
            f"{key} = {name!r} is in neither place where it was looked for:\n"
            f"  a local folder:          {folder.absolute()}\n"
            f"  the Hugging Face cache:  {HF_HUB_CACHE}\n"
            f"Nothing is downloaded here. Where there is a network, `hf download {name}` fills the cache; or name a "
            f"local folder; or train a small model from scratch: configs/quickstart.yaml needs no download."
        ) from None
