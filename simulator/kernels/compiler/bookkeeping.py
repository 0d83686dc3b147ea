"""What numba does besides compiling, and again for each instruction, done faster or not at all."""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,misc,import-untyped"

from __future__ import annotations

import functools
from typing import Any

from llvmlite.binding import ffi
from numba.core import ir

_ffi: Any = ffi
_Statement: Any = ir.Stmt
_Expression: Any = ir.Expr
_search: Any = ir.Inst._rec_list_vars

_NO_VARIABLE = {ir.Loc, str, int, float, bool, type(None), type(len), type(ir)}


def _collect(owner: Any, values: Any, found: list[Any]) -> None:
    for value in values:
        kind = type(value)
        if kind is ir.Var:
            found.append(value)
        elif kind in _NO_VARIABLE:
            continue
        elif kind is ir.Expr:
            _collect(value, value._kws.values(), found)
        elif kind is list or kind is tuple:
            _collect(owner, value, found)
        else:
            found.extend(_search(owner, value))


def _variables_of_statement(statement: Any) -> list[Any]:
    found: list[Any] = []
    _collect(statement, statement.__dict__.values(), found)
    return found


def _variables_of_expression(expression: Any) -> list[Any]:
    found: list[Any] = []
    _collect(expression, expression._kws.values(), found)
    return found


@functools.cache
def spare_bookkeeping() -> None:
    """List variables faster, and do not announce every call of LLVM to numba's timers."""
    _Statement.list_vars = _variables_of_statement
    _Expression.list_vars = _variables_of_expression
    _ffi.lib._lock._cblist.clear()
