"""Small arrays of a fixed size, which a kernel keeps on its stack.

``np.empty`` and ``np.zeros`` with a constant shape are replaced before numba infers types: numba
would compile a function for each shape and dtype, allocate memory, and count references to it.
"""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,union-attr,misc,import-untyped"

from __future__ import annotations

import math
from typing import Any

import llvmlite.ir as llvm
import numpy as np
from numba.core import analysis, cgutils, extending, ir, ir_utils, types
from numba.core.typing import signature

from simulator.kernels.compiler.heap_arrays import LIKE, NEW

MOST_ELEMENTS = 128
"""Larger arrays stay on the heap."""

_ir_utils: Any = ir_utils
_analysis: Any = analysis
_cgutils: Any = cgutils
_signature: Any = signature
_intrinsic: Any = extending.intrinsic(prefer_literal=True)

_DTYPES = {np.int64: types.int64, np.float64: types.float64}


def _maker(dtype: Any, filled: bool) -> Any:
    """The intrinsic function that takes a shape, as one or two constants, to an array."""

    def make(_context: Any, rows: Any, columns: Any) -> Any:
        shape = [kind.literal_value for kind in (rows, columns) if kind.literal_value >= 0]
        array = types.Array(dtype, len(shape), "C")

        def generate(context: Any, build: Any, _signature: Any, _values: Any) -> Any:
            return _on_stack(context, build, array, shape, filled)

        return _signature(array, rows, columns), generate

    return _intrinsic(make)


_MAKERS = {
    (dtype, filled): _maker(kind, filled)
    for dtype, kind in _DTYPES.items()
    for filled in (False, True)
}


def _on_stack(context: Any, build: Any, kind: Any, shape: list[int], filled: bool) -> Any:
    number = context.get_value_type(kind.dtype)
    block = _cgutils.alloca_once(build, llvm.ArrayType(number, math.prod(shape)))
    if filled:
        build.store(llvm.Constant(block.type.pointee, None), block)
    word = llvm.IntType(64)
    sizes = {
        "nitems": math.prod(shape),
        "itemsize": 8,
    }
    members = {name: llvm.Constant(word, size) for name, size in sizes.items()}
    members["data"] = build.bitcast(block, number.as_pointer())
    steps = [8 * math.prod(shape[i + 1 :]) for i in range(len(shape))]
    several = llvm.ArrayType(word, len(shape))
    members["shape"] = llvm.Constant(several, [llvm.Constant(word, size) for size in shape])
    members["strides"] = llvm.Constant(several, [llvm.Constant(word, step) for step in steps])
    array = llvm.Constant(context.get_value_type(kind), None)
    position = context.data_model_manager[kind].get_field_position
    for name, value in members.items():
        array = build.insert_value(array, value, position(name))
    return array


def is_on_stack(function: Any) -> bool:
    """Whether a function type is that of a call that ``keep_on_stack`` put in."""
    return isinstance(function, types.Function) and function.typing_key in _MAKERS.values()


def allocate_here(func_ir: Any) -> None:
    """Replace the calls that are left, and ``np.empty_like``, by allocations without a function."""
    for block in func_ir.blocks.values():
        for place, statement in enumerate(block.body):
            if not (
                isinstance(statement, ir.Assign)
                and isinstance(statement.value, ir.Expr)
                and statement.value.op == "call"
            ):
                continue
            call, loc = statement.value, statement.loc
            make = None
            if _allocator(func_ir, call) is not None and call.args:
                filled = _allocator(func_ir, call) is np.zeros
                make = NEW.get((_DTYPES.get(_dtype(func_ir, call), types.none), filled))
            elif len(call.args) == 1 and not call.kws and not call.vararg:
                make = LIKE if _constant(func_ir, call.func) is np.empty_like else None
            if make is None:
                continue
            name = ir.Var(statement.target.scope, _unused(f"{statement.target.name}.make"), loc)
            block.body[place : place + 1] = [
                ir.Assign(ir.Global("make", make, loc), name, loc),
                ir.Assign(ir.Expr.call(name, [call.args[0]], (), loc), statement.target, loc),
            ]


def keep_on_stack(func_ir: Any) -> bool:
    """Replace the calls outside of loops, whose passes would share the memory; whether any was.

    Not for a function that returns an array.
    """
    changed = False
    found = [
        (label, place, statement)
        for label, block in func_ir.blocks.items()
        for place, statement in enumerate(block.body)
        if isinstance(statement, ir.Assign)
        and isinstance(statement.value, ir.Expr)
        and statement.value.op == "call"
        and _allocator(func_ir, statement.value) is not None
    ]
    if not found:
        return False
    loops = _analysis.compute_cfg_from_blocks(func_ir.blocks).loops().values()
    repeated = {label for loop in loops for label in loop.body}
    for label, place, statement in reversed(found):
        shape = _shape(func_ir, statement.value)
        dtype = _dtype(func_ir, statement.value)
        if label in repeated or shape is None or dtype not in _DTYPES:
            continue
        changed = True
        block, target, loc = func_ir.blocks[label], statement.target, statement.loc
        zeroed = _allocator(func_ir, statement.value) is np.zeros
        names = [f"{target.name}.{part}" for part in ("make", "rows", "columns")]
        make, rows, columns = (ir.Var(target.scope, _unused(name), loc) for name in names)
        block.body[place : place + 1] = [
            ir.Assign(ir.Global("make", _MAKERS[dtype, zeroed], loc), make, loc),
            ir.Assign(ir.Const(shape[0], loc), rows, loc),
            ir.Assign(ir.Const(shape[1] if len(shape) > 1 else -1, loc), columns, loc),
            ir.Assign(ir.Expr.call(make, [rows, columns], (), loc), target, loc),
        ]
    return changed


def _unused(name: str) -> str:
    return _ir_utils.mk_unique_var(name)


def _constant(func_ir: Any, variable: Any) -> Any:
    """The value of a constant, a frozen global, or an attribute of a module; None otherwise."""
    made = _ir_utils.guard(_ir_utils.get_definition, func_ir, variable)
    if isinstance(made, (ir.Global, ir.Const, ir.FreeVar)):
        return made.value
    if isinstance(made, ir.Expr) and made.op == "getattr":
        return getattr(_constant(func_ir, made.value), made.attr, None)
    return None


def _allocator(func_ir: Any, call: Any) -> Any:
    made = _constant(func_ir, call.func)
    return made if made is np.empty or made is np.zeros else None


def _dtype(func_ir: Any, call: Any) -> Any:
    if len(call.args) > 1:
        return _constant(func_ir, call.args[1])
    keywords = dict(call.kws)
    return _constant(func_ir, keywords["dtype"]) if "dtype" in keywords else np.float64


def _shape(func_ir: Any, call: Any) -> list[int] | None:
    if not call.args:
        return None
    made = _ir_utils.guard(_ir_utils.get_definition, func_ir, call.args[0])
    parts = [call.args[0]]
    if isinstance(made, ir.Expr) and made.op == "build_tuple":
        parts = made.items
    shape = [_constant(func_ir, part) for part in parts]
    if not 0 < len(shape) <= 2 or any(type(size) is not int for size in shape):
        return None
    return shape if 0 < math.prod(shape) <= MOST_ELEMENTS else None
