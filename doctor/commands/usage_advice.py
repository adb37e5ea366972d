"""What to write instead of a command line that was not understood."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Any

VALUES = ("true", "false", "yes", "no", "on", "off", "0", "1")
CONFIGURATIONS = (".yaml", ".yml")


def usage_advice(parameters: Sequence[Any], arguments: Sequence[str]) -> str | None:
    """Return what to write instead; None if that is not clear.

    Args:
        parameters: of the command, as typer has them.
        arguments: of the call.
    """
    return _flag_with_a_value(parameters, arguments) or _file_without_its_option(parameters, arguments)


def _flag_with_a_value(parameters: Sequence[Any], arguments: Sequence[str]) -> str | None:
    """`--packing false` is written `--no-packing`."""
    for option, value in pairwise(arguments):
        if value.lower() not in VALUES or not option.startswith("--"):
            continue
        for parameter in parameters:
            names = [*getattr(parameter, "opts", ()), *getattr(parameter, "secondary_opts", ())]
            if getattr(parameter, "is_flag", False) and option.replace("_", "-") in names:
                return f"{option} takes no value: write {' or '.join(names)}."
    return None


def _file_without_its_option(parameters: Sequence[Any], arguments: Sequence[str]) -> str | None:
    """A file alone is a configuration or a data set: `aios train my.txt`."""
    options = {name for parameter in parameters for name in getattr(parameter, "opts", ())}
    if not arguments or arguments[0].startswith("-") or not {"--config", "--dataset-file"} <= options:
        return None
    configuration = PurePath(arguments[0]).suffix.lower() in CONFIGURATIONS
    option = "--config" if configuration else "--dataset-file"
    return f"A file needs the option that says what it is: {option} {arguments[0]}"
