"""Find a model or tokenizer by name: a local folder or the Hugging Face cache. Nothing is downloaded."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

from doctor.bounded import check, is_nested_deeply, read_beginning, read_bytes, read_json
from trainer.errors import UserError
from trainer.file_kinds import LFS_POINTER

TEXTS = (".json", ".txt", ".model", ".jinja")
LARGEST_TEXT = 512 << 20  # bytes; the largest tokenizers have some 40 MB
LARGEST_WEIGHTS = 16 << 40
LIBRARIES = r"(transformers|peft|huggingface_hub)\."


def local_copy(name: str, key: str) -> Path:
    """The folder of a model or tokenizer.

    Args:
        name: a folder, or a Hugging Face id such as "gpt2" or "nvidia/nemotron-3-8b-base-4k", also with @revision.
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
        repository, _, revision = name.partition("@")
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise UserError(
            f"{key} = {name!r} was not found. Looked in:\n"
            f"  local folder:            {folder.absolute()}\n"
            f"  the Hugging Face cache:  {HF_HUB_CACHE}\n"
            f"To download it, run `aios fetch {name}`. Or name a local folder, or train a small model from scratch "
            "(model.architecture), which needs no download."
        ) from None


def check_files(files: Iterable[Path]) -> None:
    """Check files of a model before transformers reads them: regular, of a reasonable size, JSON not nested deeply.

    They contain data, not git-lfs pointers, which a clone without git-lfs has in place of large files.

    Raises:
        UserError: some do not.
    """
    existing = [file for file in files if file.exists()]
    for file in existing:
        _check(file)
    pointers = [file for file in existing if read_beginning(file, len(LFS_POINTER)) == LFS_POINTER]
    if pointers:
        folder = pointers[0].parent.absolute()
        names = ", ".join(file.name for file in pointers)
        raise UserError(
            f"{names} in {folder}: a git-lfs pointer instead of the file itself. Run `git lfs pull` in that folder, or "
            "download the model with `aios fetch`."
        )


def _check(file: Path) -> None:
    """Check one file. JSON that is not valid is left to transformers, which explains it."""
    where = file.absolute()
    is_text = file.suffix in TEXTS
    try:
        check(file, LARGEST_TEXT if is_text else LARGEST_WEIGHTS)
        too_deep = file.suffix == ".json" and is_nested_deeply(read_bytes(file, LARGEST_TEXT))
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}.") from error
    if too_deep:
        raise UserError(f"{where} is nested too deeply. Copy or download it again.")


def own_code(folder: Path, name: str) -> str | None:
    """The Python code in a model folder that one of its configuration files refers to; None if there is none.

    Such code is never run: a model folder is data.
    """
    try:
        code = read_json(folder / name).get("auto_map")
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
