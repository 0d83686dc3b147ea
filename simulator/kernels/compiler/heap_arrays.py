"""Arrays whose size only a call knows: allocated where they are asked for.

numba compiles several functions for each number of dimensions and each type of its elements, with
machine code of their own, to do what takes a multiplication and a call of its allocator.
"""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,misc,import-untyped"

from __future__ import annotations

from typing import Any

import llvmlite.ir as llvm
from numba.core import cgutils, extending, types
from numba.core.typing import signature
from numba.np import arrayobj

_cgutils: Any = cgutils
_arrays: Any = arrayobj
_signature: Any = signature
_intrinsic: Any = extending.intrinsic

_TOO_BIG = (
    "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."
)


def _maker(dtype: Any, filled: bool) -> Any:
    """The intrinsic function that takes an integer, or a tuple of them, to an array."""

    def make(_context: Any, shape: Any) -> Any:
        sizes = shape.types if isinstance(shape, types.BaseTuple) else (shape,)
        if not all(isinstance(size, types.Integer) for size in sizes):
            return None
        array = types.Array(dtype, len(sizes), "C")

        def generate(context: Any, build: Any, found: Any, values: Any) -> Any:
            sizes = [values[0]]
            kinds: Any = found.args
            if isinstance(found.args[0], types.BaseTuple):
                kinds = found.args[0].types
                sizes = _cgutils.unpack_tuple(build, values[0])
            sizes = [
                context.cast(build, size, kind, types.int64)
                for size, kind in zip(sizes, kinds, strict=True)
            ]
            return _allocate(context, build, array, sizes, filled)

        return _signature(array, shape), generate

    return _intrinsic(make)


def _like(_context: Any, array: Any) -> Any:
    if not isinstance(array, types.Array) or array.layout == "F":
        return None
    made = types.Array(array.dtype, array.ndim, "C")

    def generate(context: Any, build: Any, found: Any, values: Any) -> Any:
        old = _arrays.make_array(found.args[0])(context, build, values[0])
        return _allocate(context, build, made, _cgutils.unpack_tuple(build, old.shape), False)

    return _signature(made, array), generate


def _allocate(context: Any, build: Any, kind: Any, sizes: list[Any], filled: bool) -> Any:
    """A new array, as an LLVM value: in this function's hands, as all that numba allocates."""
    width = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    step = llvm.Constant(sizes[0].type, width)
    strides: list[Any] = []
    total, overflow = step, llvm.Constant(llvm.IntType(1), 0)
    for size in reversed(sizes):
        strides.insert(0, total)
        product = build.smul_with_overflow(total, size)
        total = build.extract_value(product, 0)
        overflow = build.or_(overflow, build.extract_value(product, 1))
    with build.if_then(overflow, likely=False):
        context.call_conv.return_user_exc(build, ValueError, (_TOO_BIG,))
    align = context.get_preferred_array_alignment(kind.dtype)
    block = context.nrt.meminfo_alloc_aligned(build, total, align)
    data = context.nrt.meminfo_data(build, block)
    if filled:
        _cgutils.memset(build, data, total, 0)
    array = _arrays.make_array(kind)(context, build)
    _arrays.populate_array(
        array,
        data=build.bitcast(data, context.get_data_type(kind.dtype).as_pointer()),
        shape=_cgutils.pack_array(build, sizes),
        strides=_cgutils.pack_array(build, strides),
        itemsize=step,
        meminfo=block,
    )
    return array._getvalue()


NEW: dict[tuple[Any, bool], Any] = {
    (dtype, filled): _maker(dtype, filled)
    for dtype in (types.int64, types.float64)
    for filled in (False, True)
}
"""Functions that allocate, by type of the elements and whether they are zeros."""

LIKE = _intrinsic(_like)
"""The function that allocates an array like another."""
