"""Evaluate environment markers (PEP 508) for any machine, not only this one.

The evaluation in `packaging` starts from the current machine and calls `platform`, which can hang on Windows.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from packaging.specifiers import InvalidSpecifier, SpecifierSet

VERSIONS = ("python_version", "python_full_version", "implementation_version")
OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


def marker_holds(marker: str, environment: Mapping[str, str]) -> bool | None:
    """Evaluate `python_version < "3.11" and sys_platform == "win32"`. None: it uses a variable that `environment` does not contain."""
    try:
        return _holds(ast.parse(marker.strip(), mode="eval").body, environment)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _holds(node: ast.expr, environment: Mapping[str, str]) -> bool | None:
    if isinstance(node, ast.BoolOp):
        parts = [_holds(part, environment) for part in node.values]
        deciding = isinstance(node.op, ast.Or)
        if deciding in parts:
            return deciding
        return None if None in parts else not deciding
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _compare(node.left, node.ops[0], node.comparators[0], environment)
    return None


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, environment: Mapping[str, str]) -> bool | None:
    values = [_value(side, environment) for side in (left, right)]
    if values[0] is None or values[1] is None:
        return None
    if isinstance(op, ast.In | ast.NotIn):
        return (values[0] in values[1]) is isinstance(op, ast.In)
    if type(op) not in OPERATORS:
        return None
    if isinstance(left, ast.Name) and left.id in VERSIONS:
        return _version_fits(values[0], f"{OPERATORS[type(op)]}{values[1]}")
    if isinstance(op, ast.Eq | ast.NotEq):
        return (values[0] == values[1]) is isinstance(op, ast.Eq)
    return None


def _version_fits(version: str, specifier: str) -> bool | None:
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return None


def _value(node: ast.expr, environment: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return environment.get(node.id)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
