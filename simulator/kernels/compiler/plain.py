"""What functions that cannot raise look like in LLVM: no status beside the result."""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,union-attr,misc,import-untyped"

from __future__ import annotations

from typing import Any

import llvmlite.ir as llvm
from numba.core import cgutils, cpu, types

_CPUContext: Any = cpu.CPUContext
_cgutils: Any = cgutils

plain: dict[Any, tuple[Any, Any]] = {}
"""Functions that cannot raise, by entry point: (descriptor, library)."""


class MayRaise(Exception):  # noqa: N818
    """A function that was lowered as one that cannot raise turns out to need numba's way."""


class PlainContext(_CPUContext):
    """numba's context inside a function that cannot raise."""

    @property
    def call_conv(self) -> Any:
        """Nothing: whatever asks for it is about to raise, or to pass on an exception."""
        raise MayRaise


def declare_plain(context: Any, module: Any, fndesc: Any) -> Any:
    """The LLVM function: arrays and tuples by address, the result as its value."""
    result = llvm.VoidType()
    if fndesc.restype != types.none:
        result = context.get_value_type(fndesc.restype)
    arguments = []
    for kind in fndesc.argtypes:
        own = context.get_value_type(kind)
        if isinstance(own, (llvm.LiteralStructType, llvm.ArrayType)):
            own = own.as_pointer()
        arguments.append(own)
    whole = llvm.FunctionType(result, arguments)
    function = _cgutils.get_or_insert_function(module, whole, fndesc.mangled_name)
    if fndesc.inline:
        function.attributes.add("alwaysinline")
    return function
