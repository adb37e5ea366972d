"""Dependencies run one way. Read from the source, so that a function's own import counts too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MACHINE = {"winreg", "ctypes", "subprocess"}
OPTIONAL = {"torch", "transformers", "flash_attn", "xformers", "triton", "numpy", "safetensors"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def reads_environment(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


@pytest.mark.parametrize("path", modules("doctor"), ids=str)
def test_the_doctor_knows_neither_the_trainer_nor_an_optional_package(path) -> None:
    assert not imported_packages(path) & {"trainer", "aios", *OPTIONAL}


@pytest.mark.parametrize(
    "path", [p for p in modules("doctor") if p.parent != ROOT / "doctor" / "host"], ids=str
)
def test_only_the_host_touches_the_machine(path) -> None:
    assert not imported_packages(path) & MACHINE
    assert not reads_environment(path)


@pytest.mark.parametrize("path", modules("trainer"), ids=str)
def test_the_trainer_knows_the_doctor_by_the_capability_file_alone(path) -> None:
    of_doctor = {name for name in imports(path) if name.partition(".")[0] == "doctor"}
    assert all(name.startswith("doctor.capability.") or name == "doctor.capability" for name in of_doctor)
    assert "aios" not in imported_packages(path)


@pytest.mark.parametrize("path", modules("wheels"), ids=str)
def test_wheels_know_nobody(path) -> None:
    assert not imported_packages(path) & {"doctor", "trainer", "aios", *OPTIONAL}


@pytest.mark.parametrize(
    "path",
    [p for p in modules("doctor") if p.parent.name != "commands" and not p.stem.endswith("commands")],
    ids=str,
)
def test_below_the_commands_nobody_knows_the_command_line(path) -> None:
    assert not imported_packages(path) & {"typer", "click"}
    assert "doctor.commands" not in {name.rpartition(".")[0] for name in imports(path)}
