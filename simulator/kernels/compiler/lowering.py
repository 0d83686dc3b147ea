"""From typed numba IR to LLVM for the kernels' few types, in as few instructions as it takes.

numba writes an access to an array as some forty lines of LLVM that its optimiser then removes, and
looks every operator up in its tables of implementations; both together are most of the time that
compiling a kernel takes. Kernels are made of integers, floats and C-contiguous arrays, so the
common operations on those are written directly here. Everything else is left to numba.
"""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,union-attr,misc,import-untyped"

from __future__ import annotations

import operator
from typing import Any

import llvmlite.ir as llvm
from numba.core import cgutils, ir, types

from simulator.kernels.compiler.number_functions import lower_number_function, number_signature
from simulator.kernels.compiler.places import Place, PlacedLower
from simulator.kernels.compiler.plain import declare_plain, plain
from simulator.kernels.compiler.ranges import WORD

_types: Any = types
_cgutils: Any = cgutils

_ARITHMETIC = {
    operator.add: "add",
    operator.iadd: "add",
    operator.sub: "sub",
    operator.isub: "sub",
    operator.mul: "mul",
    operator.imul: "mul",
}
_BITWISE = {
    operator.and_: "and_",
    operator.iand: "and_",
    operator.or_: "or_",
    operator.ior: "or_",
    operator.xor: "xor",
    operator.ixor: "xor",
}
_COMPARISON = {
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
}


def is_plain_array(kind: Any) -> bool:
    """Whether elements lie one after another, as numbers of one type."""
    return (
        isinstance(kind, types.Array)
        and kind.layout == "C"
        and kind.aligned
        and isinstance(kind.dtype, (types.Integer, types.Float, types.Boolean))
    )


def indices_of(kind: Any) -> int:
    """How many integers an index consists of; 0 where there is something else."""
    if isinstance(kind, types.Integer):
        return 1
    if isinstance(kind, types.BaseTuple) and all(isinstance(k, types.Integer) for k in kind):
        return len(kind)
    return 0


class LeanLower(PlacedLower):
    """numba's lowering with short ways for integers, floats and contiguous arrays."""

    def alloca_lltype(self, name: str, lltype: Any, datamodel: Any = None) -> Any:
        """A variable's place on the stack, without the description for debuggers."""
        return _cgutils.alloca_once(self.builder, lltype, name=name)

    # operators

    def lower_binop(self, resty: Any, expr: Any, op: Any) -> Any:
        """Arithmetic and comparisons of two int64 or two float64."""
        left, right = (_types.unliteral(self.typeof(side.name)) for side in (expr.lhs, expr.rhs))
        if left != right or left not in (types.int64, types.float64):
            return super().lower_binop(resty, expr, op)
        whole = left == types.int64
        result = _types.unliteral(resty)
        if op in _COMPARISON and result == types.boolean:
            a, b = self.loadvar(expr.lhs.name), self.loadvar(expr.rhs.name)
            if whole:
                return self.builder.icmp_signed(_COMPARISON[op], a, b)
            if op is operator.ne:
                return self.builder.fcmp_unordered("!=", a, b)
            return self.builder.fcmp_ordered(_COMPARISON[op], a, b)
        if result != left:
            return super().lower_binop(resty, expr, op)
        name = _ARITHMETIC.get(op)
        if name is not None and not whole:
            name = "f" + name
        if name is None and whole:
            name = _BITWISE.get(op)
        if name is None:
            return super().lower_binop(resty, expr, op)
        a, b = self.loadvar(expr.lhs.name), self.loadvar(expr.rhs.name)
        return getattr(self.builder, name)(a, b)

    # elements

    def lower_expr(self, resty: Any, expr: Any) -> Any:
        """Elements and rows of arrays, members of tuples; the rest is numba's."""
        if expr.op == "static_getitem":
            kind = self.typeof(expr.value.name)
            if isinstance(kind, types.BaseTuple) and isinstance(expr.index, int):
                index = expr.index + (len(kind) if expr.index < 0 else 0)
                place = self.place_of(expr.value.name)
                if place is not None:
                    member = self.builder.load(self._member_address(place, index))
                else:
                    member = self.builder.extract_value(self.loadvar(expr.value.name), index)
                member = self.context.cast(self.builder, member, kind[index], resty)
                self.incref(resty, member)
                return member
            if is_plain_array(kind) and expr.index_var is not None:
                return self._element(resty, expr, kind, expr.index_var)
        elif expr.op == "getitem":
            kind = self.typeof(expr.value.name)
            if is_plain_array(kind):
                return self._element(resty, expr, kind, expr.index)
        elif expr.op == "getattr" and expr.attr == "shape":
            kind = self.typeof(expr.value.name)
            if isinstance(kind, types.Array) and self.place_of(expr.value.name) is not None:
                shape = self._member(self.place_of(expr.value.name), kind, "shape")
                return self.context.cast(
                    self.builder, shape, types.UniTuple(types.int64, kind.ndim), resty
                )
        elif expr.op == "getiter" and resty == types.range_iter64_type:
            steps = self._ranges.get(expr.value.name)
            if steps is not None:
                return self._range_iterator(resty, steps)
        elif expr.op == "iternext":
            kind = self.typeof(expr.value.name)
            if kind == types.range_iter64_type:
                return self._next_of_range(resty, self.loadvar(expr.value.name), kind)
        elif expr.op in ("pair_first", "pair_second"):
            kind = self.typeof(expr.value.name)
            if isinstance(kind.first_type, types.Integer):
                first = expr.op == "pair_first"
                return self.builder.extract_value(self.loadvar(expr.value.name), 0 if first else 1)
        return super().lower_expr(resty, expr)

    def _element(self, resty: Any, expr: Any, kind: Any, index: Any) -> Any:
        count = indices_of(self.typeof(index.name))
        if not 0 < count <= kind.ndim:
            return super().lower_expr(resty, expr)
        array = self._array(expr.value.name)
        at = self._address(array, kind, index)
        if count == kind.ndim:
            element = self.context.unpack_value(self.builder, kind.dtype, at)
            return self.context.cast(self.builder, element, kind.dtype, resty)
        if not isinstance(resty, types.Array) or resty.layout != "C":
            return super().lower_expr(resty, expr)
        return self._view(array, kind, resty, at)

    def _array(self, name: str) -> Any:
        """An array's value, or the place where it is."""
        return self.place_of(name) or self.loadvar(name)

    def _member(self, array: Any, kind: Any, name: str) -> Any:
        position = self.context.data_model_manager[kind].get_field_position(name)
        if type(array) is Place:
            return self._field(array, name, position)
        return self.builder.extract_value(array, position)

    def _address(self, array: Any, kind: Any, index: Any) -> Any:
        """Where the element, or the first one of the part, with this index is."""
        build = self.builder
        value = self.loadvar(index.name)
        index_kind = self.typeof(index.name)
        if isinstance(index_kind, types.Integer):
            parts, part_kinds = [value], [index_kind]
        else:
            parts = [build.extract_value(value, i) for i in range(len(index_kind))]
            part_kinds = list(index_kind)
        shape = None
        offset = None
        for i in range(kind.ndim):
            if i > 0 or not self._never_negative(part_kinds[0]):
                shape = shape or self._member(array, kind, "shape")
            size = build.extract_value(shape, i) if shape is not None else None
            if offset is not None:
                offset = build.mul(offset, size)
            if i < len(parts):
                part = self.context.cast(build, parts[i], part_kinds[i], types.int64)
                if not self._never_negative(part_kinds[i]):
                    low = build.icmp_signed("<", part, llvm.Constant(WORD, 0))
                    part = build.select(low, build.add(part, size), part)
                offset = part if offset is None else build.add(offset, part)
        return build.gep(self._member(array, kind, "data"), [offset])

    @staticmethod
    def _never_negative(kind: Any) -> bool:
        return isinstance(kind, types.IntegerLiteral) and kind.literal_value >= 0

    def _view(self, array: Any, kind: Any, resty: Any, at: Any) -> Any:
        """The array of the last dimensions that begins at an address."""
        build = self.builder
        first = kind.ndim - resty.ndim
        view = llvm.Constant(self.context.get_value_type(resty), None)
        position = self.context.data_model_manager[resty].get_field_position
        own: dict[str, Any] = {}
        for name in ("shape", "strides"):
            whole = self._member(array, kind, name)
            part = llvm.Constant(llvm.ArrayType(WORD, resty.ndim), None)
            for i in range(resty.ndim):
                size = build.extract_value(whole, first + i)
                part = build.insert_value(part, size, i)
                if name == "shape":
                    own["nitems"] = size if i == 0 else build.mul(own["nitems"], size)
            own[name] = part
        own["itemsize"] = self._member(array, kind, "itemsize")
        own["data"] = at
        if self.context.enable_nrt:
            own["meminfo"] = self._member(array, kind, "meminfo")
        for name, value in own.items():
            view = build.insert_value(view, value, position(name))
        self.incref(resty, view)
        return view

    def lower_inst(self, inst: Any) -> Any:
        """An assignment to an element; the rest is numba's."""
        if isinstance(inst, ir.Assign):
            self._remember_range(inst.target.name, inst.value)
        if isinstance(inst, (ir.SetItem, ir.StaticSetItem)):
            static = isinstance(inst, ir.StaticSetItem)
            index = inst.index_var if static else inst.index
            kind = self.typeof(inst.target.name)
            if (
                index is not None
                and is_plain_array(kind)
                and indices_of(self.typeof(index.name)) == kind.ndim
            ):
                value_kind = self.typeof(inst.value.name)
                if isinstance(value_kind, (types.Integer, types.Float, types.Boolean)):
                    value = self.loadvar(inst.value.name)
                    value = self.context.cast(self.builder, value, value_kind, kind.dtype)
                    at = self._address(self._array(inst.target.name), kind, index)
                    self.context.pack_value(self.builder, kind.dtype, value, at)
                    return None
        return super().lower_inst(inst)

    # calls

    def _lower_call_normal(self, fnty: Any, expr: Any, signature: Any) -> Any:
        """Functions that cannot raise, ``len``, ``min``, ``max`` and ``int``; else numba's."""
        if isinstance(fnty, types.Dispatcher):
            found = plain.get(fnty.get_overload(signature))
            if found is not None:
                return self._call_plain(*found, fnty, signature, expr)
        if isinstance(fnty, types.Function) and not expr.kws and not expr.vararg:
            kinds = [_types.unliteral(self.typeof(arg.name)) for arg in expr.args]
            what = fnty.typing_key
            if what is len and isinstance(kinds[0], types.Array):
                shape = self._member(self._array(expr.args[0].name), kinds[0], "shape")
                return self.builder.extract_value(shape, 0)
            if what is min or what is max or what is int:
                found = number_signature(what, tuple(kinds))
                if found is not None:
                    values = [self.loadvar(arg.name) for arg in expr.args]
                    return lower_number_function(self.context, self.builder, found, what, values)
        return super()._lower_call_normal(fnty, expr, signature)

    def _call_plain(self, fndesc: Any, library: Any, fnty: Any, signature: Any, expr: Any) -> Any:
        function = declare_plain(self.context, self.module, fndesc)
        passed = []
        if expr.kws or expr.vararg or len(expr.args) != len(function.args):
            values = self.fold_call_args(fnty, signature, expr.args, expr.vararg, expr.kws)
            for value, argument in zip(values, function.args, strict=True):
                same = argument.type == value.type
                passed.append(value if same else self.stored_for_call(value))
        else:
            for var, kind, argument in zip(expr.args, signature.args, function.args, strict=True):
                if isinstance(argument.type, llvm.PointerType) and self._by_address(kind):
                    passed.append(self.address_for_call(var.name, kind))
                else:
                    value = self.loadvar(var.name)
                    own = self.typeof(var.name)
                    passed.append(self.context.cast(self.builder, value, own, kind))
        result = self.builder.call(function, passed)
        self.context.add_linking_libs([library])
        return self.context.get_dummy_value() if fndesc.restype == types.none else result
