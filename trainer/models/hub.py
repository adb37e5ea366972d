"""Find a model or tokenizer by name: a local folder or the Hugging Face cache. Nothing is downloaded."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

from trainer.errors import UserError
from trainer.file_kinds import LFS_POINTER

LIBRARIES = r"(transformers|peft|huggingface_hub)\."


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
    if folder.is_file():
        raise UserError(
            f"{key} = {name!r} is a file. A model is a folder with config.json and model.safetensors, as transformers saves "
            "it. Name such a folder."
        )
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


def check_not_pointers(files: Iterable[Path]) -> None:
    """Check that files contain data, not git-lfs pointers, which a clone without git-lfs has in place of large files.

    Raises:
        UserError: some are pointers.
    """
    pointers = [file for file in files if file.is_file() and _starts_with(file, LFS_POINTER)]
    if pointers:
        folder = pointers[0].parent.absolute()
        names = ", ".join(file.name for file in pointers)
        raise UserError(
            f"{names} in {folder}: a git-lfs pointer instead of the file itself. Run `git lfs pull` in that folder, or "
            "download the model with `hf download`."
        )


def _starts_with(file: Path, start: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(start)) == start


def own_code(folder: Path, name: str) -> str | None:
    """The Python code in a model folder that one of its configuration files refers to; None if there is none.

    Such code is never run: a model folder is data.
    """
    try:
        code = json.loads((folder / name).read_text(encoding="utf-8")).get("auto_map")
    except (OSError, ValueError, AttributeError):
        return None
    return f"auto_map in {name}" if code else None


def silence_libraries() -> None:
    """Hide the warnings of transformers and peft: they address the programs that call them, not their users."""
    warnings.filterwarnings("ignore", module=LIBRARIES)
    warnings.filterwarnings("ignore", category=FutureWarning)  # of something that the next release changes
    logging.getLogger("bitsandbytes").setLevel(
        logging.ERROR
    )  # peft imports it, and it misses optional kernels
