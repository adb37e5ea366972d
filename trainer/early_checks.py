"""What can be refused before torch is imported: wrong paths, names and data files."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from trainer.config import TrainConfig
from trainer.data.instructions import Reading
from trainer.data.sources import find
from trainer.errors import UserError
from trainer.models import hub
from trainer.models.chat_template import ChatTemplate
from trainer.survival.checkpoint_names import CHECKPOINTS, checkpoints_in
from trainer.survival.lock import lock_run

NAME_KEY = "model.name (--name)"
TOKENIZER_KEY = "model.tokenizer (--tokenizer)"
SMALL_FOLDER = 200  # files; the files of larger folders are read only once, by the run itself


def check(config: TrainConfig, resume: bool, writing: bool) -> None:
    """Check the paths and names of a configuration.

    Args:
        writing: whether this process is the only one of its run, so that it may lock the output folder.

    Raises:
        UserError: one of them is wrong.
    """
    check_outputs_outside_data(config)
    resumed = resume and checkpoints_in(config.output.output_dir / CHECKPOINTS)
    if not resume:
        check_no_checkpoints(config)
    if config.model.name is not None and not resumed:
        hub.local_copy(config.model.name, NAME_KEY)
    if config.model.tokenizer not in (None, "byte") and not resumed:
        hub.local_copy(str(config.model.tokenizer), TOKENIZER_KEY)
    for path in filter(None, (config.data.dataset_file, config.data.eval_file)):
        _check_data(path, config)
    if writing:
        with lock_run(config.output.output_dir, config.log_file):
            pass


def check_outputs_outside_data(config: TrainConfig) -> None:
    """Raise UserError if the run would write into its own data set, where its files would become data of the next run."""
    written = {
        "output.output_dir (--output-dir)": config.output.output_dir,
        "output.log_file (--log-file)": config.log_file,
    }
    for data in filter(None, (config.data.dataset_file, config.data.eval_file)):
        for key, path in written.items():
            if path.resolve().is_relative_to(data.resolve()):
                where = "in the data set" if data.is_dir() else "the data set"
                raise UserError(
                    f"{path.absolute()} is {where} {data.absolute()}: the run would change its own data. Choose another "
                    f"path with {key}."
                )


def check_no_checkpoints(config: TrainConfig) -> None:
    """Raise UserError if the output folder already contains checkpoints of a run."""
    if checkpoints_in(config.output.output_dir / CHECKPOINTS):
        raise UserError(
            f"{config.output.output_dir.absolute()} already contains checkpoints. Continue that run with --resume, or name "
            "another folder with output.output_dir (--output-dir)."
        )


def check_model_folder(path: Path, option: str) -> None:
    """Raise UserError if there is no such folder. `option`: the option that names it."""
    if path.is_dir():
        return
    found = "is a file" if path.exists() else "does not exist"
    raise UserError(
        f"{path.absolute()} {found}. Set {option} to the output folder of a training run, one of its checkpoints, or a "
        "model folder. To list the runs below artifacts: aios runs"
    )


def _check_data(path: Path, config: TrainConfig) -> None:
    if path.is_dir() and len([*islice(path.rglob("*"), SMALL_FOLDER)]) == SMALL_FOLDER:
        return
    template = ChatTemplate("", "")  # any: conversations are only recognized here, not written
    reading = Reading(config.data.text_field, config.data.data_format, template=template)
    find(path, lambda line: None, reading, any_bytes=config.model.tokenizer == "byte")
