"""Run one backend in another application's Python: `python -I -S -B prove_elsewhere.py BACKEND`.

It prints what `trainer.attention.prove` prints. That Python needs torch, but neither aios nor pydantic: `trainer` is loaded
from this folder, and the doctor's classes are replaced by plain ones. Neither sitecustomize nor .pth files run.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).absolute().parents[2]


class Frozen:
    """Replaces the doctor's base class for values, which needs pydantic: fields, defaults and conversion to JSON."""

    model_fields: dict[str, Any]

    def __init_subclass__(cls) -> None:
        cls.model_fields = dict(cls.__annotations__)

    def __init__(self, **given: Any) -> None:
        for name in self.model_fields:
            setattr(self, name, given[name] if name in given else getattr(type(self), name))

    def model_dump(self, mode: str = "json") -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.model_fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump()
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _module(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module
    return module


def _load(name: str, path: Path) -> ModuleType:
    """Import a file of aios under this name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def add_packages() -> None:
    """Add the folders of this Python's packages, which -S left out, to the search path."""
    _load("doctor.bounded", ROOT / "doctor" / "bounded.py")  # pth_files imports it
    query = _load("aios_python_query", ROOT / "doctor" / "host" / "python_query.py")
    files = _load("aios_pth_files", ROOT / "doctor" / "host" / "pth_files.py")
    environment = query.environment_of(sys.executable)
    folders = query.package_folders(environment, query.paths_of(environment))
    sys.path += [folder for folder in files.with_pth_files(folders) if folder not in sys.path]


def add_aios() -> None:
    """Make `trainer` importable, and the part of `doctor` that it needs for a proof."""
    _module("trainer", __path__=[str(ROOT / "trainer")])
    _module("doctor", __path__=[])
    _module("doctor.host", Frozen=Frozen)
    proofs = _load("doctor.proofs", ROOT / "doctor" / "proofs.py")
    _module("doctor.capability", Capability=object, **vars(proofs))
    if importlib.util.find_spec("psutil") is None:
        _module("psutil", virtual_memory=_memory)


def _memory() -> Any:
    """Replaces psutil's function: the total memory of this machine, 0 if unknown."""
    total = 0
    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return type("Memory", (), {"total": total})


def main(arguments: list[str]) -> int:
    add_packages()
    add_aios()
    try:
        prove = importlib.import_module("trainer.attention.prove")
        status: int = prove.main(arguments)
    except Exception as error:  # noqa: BLE001 - an old torch may lack anything
        traceback.print_exc()
        torch = getattr(sys.modules.get("torch"), "__version__", "this torch")
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = f"aios' attention code does not run with torch {torch}: {type(error).__name__}: {first}"
        answer = {"backend": {"status": "unknown", "reasons": [reason]}, "devices": []}
        sys.stdout.write(json.dumps(answer) + "\n")
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
