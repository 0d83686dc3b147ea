"""Loops over ranges of int64 in as few instructions as it takes."""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,union-attr,misc,import-untyped"

from __future__ import annotations

from typing import Any

import llvmlite.ir as llvm
from numba.core import cgutils, ir, ir_utils, lowering, types

_Lower: Any = lowering.Lower
_types: Any = types
_cgutils: Any = cgutils
_ir_utils: Any = ir_utils

WORD = llvm.IntType(64)


class RangeLower(_Lower):
    """numba's lowering, which remembers the ranges of a block and counts through them."""

    def pre_block(self, block: Any) -> None:
        """Ranges are remembered from where they are made to where their loop begins."""
        super().pre_block(block)
        self._ranges: dict[str, tuple[Any, Any, int]] = {}

    def _remember_range(self, name: str, made: Any) -> None:
        """(first, end, step) of a range of int64 whose step is known."""
        if not (isinstance(made, ir.Expr) and made.op == "call") or made.vararg or made.kws:
            return
        what = self.typeof(made.func.name)
        kinds = [self.typeof(arg.name) for arg in made.args]
        if (
            not isinstance(what, types.Function)
            or what.typing_key is not range
            or any(_types.unliteral(kind) != types.int64 for kind in kinds)
        ):
            return
        step = 1
        if len(kinds) == 3:
            step = _ir_utils.guard(_ir_utils.find_const, self.func_ir, made.args[2])
            if not isinstance(step, int) or step == 0:
                return
        values = [self.loadvar(arg.name) for arg in made.args[:2]]
        if len(values) == 1:
            values.insert(0, llvm.Constant(WORD, 0))
        self._ranges[name] = (values[0], values[1], step)

    def _range_iterator(self, resty: Any, steps: tuple[Any, Any, int]) -> Any:
        """numba's iterator of a range, without a division where the step is 1."""
        build = self.builder
        first, end, step = steps
        left = build.sub(end, first) if step > 0 else build.sub(first, end)
        zero = llvm.Constant(WORD, 0)
        if abs(step) != 1:
            left = build.add(left, llvm.Constant(WORD, abs(step) - 1))
        count = build.select(build.icmp_signed(">", left, zero), left, zero)
        if abs(step) != 1:
            count = build.sdiv(count, llvm.Constant(WORD, abs(step)))
        iterator = llvm.Constant(self.context.get_value_type(resty), None)
        members = {
            "iter": _cgutils.alloca_once(build, WORD),
            "stop": end,
            "step": llvm.Constant(WORD, step),
            "count": _cgutils.alloca_once(build, WORD),
        }
        build.store(first, members["iter"])
        build.store(count, members["count"])
        position = self.context.data_model_manager[resty].get_field_position
        for name, value in members.items():
            iterator = build.insert_value(iterator, value, position(name))
        return iterator

    def _next_of_range(self, resty: Any, iterator: Any, kind: Any) -> Any:
        build = self.builder
        position = self.context.data_model_manager[kind].get_field_position
        at = build.extract_value(iterator, position("iter"))
        left_at = build.extract_value(iterator, position("count"))
        step = build.extract_value(iterator, position("step"))
        value, left = build.load(at), build.load(left_at)
        build.store(build.sub(left, llvm.Constant(WORD, 1)), left_at)
        build.store(build.add(value, step), at)
        pair = llvm.Constant(self.context.get_value_type(resty), llvm.Undefined)
        pair = build.insert_value(pair, value, 0)
        return build.insert_value(pair, build.icmp_signed(">", left, llvm.Constant(WORD, 0)), 1)
