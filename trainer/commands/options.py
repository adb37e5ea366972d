"""Command-line options generated from the configuration: one option per key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from trainer.config import each_key
from trainer.config.other_names import known_aliases

NOTHING: Mapping[str, Any] = MappingProxyType({})


def with_config_options(
    command: Callable[..., None],
    *,
    without: Collection[str] = (),
    defaults: Mapping[str, Any] = NOTHING,
    names: Mapping[str, str] = NOTHING,
) -> Callable[..., None]:
    """Add an option to a command for every key of the configuration; the command receives those given as `overrides`.

    Values are passed on as text: the configuration's own fields parse them, so that errors are found and explained in one
    place.

    Args:
        without: keys without an option.
        defaults: defaults to show in the help instead of the configuration's; the command must apply them.
        names: by key, a second name of its option.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "overrides"]
    generated = [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_annotation(
                section, field, [*filter(None, [names.get(key)]), key], defaults.get(key, field.default)
            ),
        )
        for section, key, field in each_key()
        if key not in without
    ]

    def run(**values: Any) -> None:
        given = {parameter.name: values.pop(parameter.name) for parameter in generated}
        command(overrides={key: value for key, value in given.items() if value is not None}, **values)

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*own, *generated])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *generated)}
    return run


def canonical_spelling(name: str) -> str:
    """Return the option that a spelling means: `window_size` and `model.window-size` are `window-size`, `lr` is `learning-rate`.

    Other trainers' names of the same setting are spellings, too: `max_steps` is `steps`.
    """
    name = name.replace("_", "-")
    return _SPELLINGS.get(name, name)


def with_default(description: str | None, default: object) -> str:
    """An option's help with a default that typer does not know; typer itself would put it in parentheses."""
    return " ".join(filter(None, [description, "" if default is None else f" [default: {default}]"]))


def _annotation(section: str, field: FieldInfo, names: list[str], default: Any) -> Any:
    dashed = [name.replace("_", "-") for name in names]
    flag = bool in (field.annotation, *get_args(field.annotation))
    shown = f"{'' if default else 'no-'}{dashed[-1]}" if isinstance(default, bool) else default
    option = typer.Option(
        *(f"--{name}/--no-{name}" if flag else f"--{name}" for name in dashed),
        help=with_default(field.description, None if default is None else shown),
        rich_help_panel=section,
        metavar=None if flag else _metavar(field),
    )
    return Annotated[bool | None if flag else str | None, option]


def _metavar(field: FieldInfo) -> str:
    names = {int: "INTEGER", float: "NUMBER", Path: "PATH", dict: "JSON"}
    parts = (field.annotation, *get_args(field.annotation))
    bare = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    kinds = [get_origin(kind) or kind for kind in bare]
    return next((names[kind] for kind in kinds if kind in names), "TEXT")


def with_model(name: str) -> str:
    """`canonical_spelling` for commands whose `--model` is the configuration's `name`."""
    return "name" if name == "model" else canonical_spelling(name)


_KEYS = {key: section for section, key, _ in each_key()}
_SPELLINGS = {name.replace("_", "-"): key.replace("_", "-") for name, key in known_aliases(_KEYS).items()} | {
    spelling.replace("_", "-"): key.replace("_", "-")
    for section, key, field in each_key()
    for spelling in (f"{section}.{key}", *([field.alias, f"{section}.{field.alias}"] if field.alias else []))
}
