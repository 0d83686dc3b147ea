"""What kernels must be for the decorators of ``kernels.jit`` to be safe."""

from __future__ import annotations

import ast
from pathlib import Path

import simulator

SOURCES = sorted(Path(simulator.__file__).parent.rglob("*.py"))


def jitted() -> dict[str, ast.FunctionDef]:
    """All functions that are compiled, by name."""
    found = {}
    for source in SOURCES:
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(d, ast.Name) and d.id in ("kernel", "inner") for d in node.decorator_list
            ):
                found[node.name] = node
    return found


def names(function: ast.FunctionDef) -> set[str]:
    body = (node for statement in function.body for node in ast.walk(statement))
    return {node.id for node in body if isinstance(node, ast.Name)}


def test_who_is_handed_an_array_counts_references() -> None:
    # A function that does not name numpy is compiled without counting references. One that gives
    # an array to such a caller would leak it, and one that passes on an array that it was given
    # would free it under its owner.
    functions = jitted()
    assert len(functions) > 100
    makers = {n for n, f in functions.items() if f.returns and "Array" in ast.unparse(f.returns)}
    for name, function in functions.items():
        if name in makers or makers & names(function):
            assert "np" in names(function), name
