"""Lowering of functions that cannot raise."""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,union-attr,misc,import-untyped"

from __future__ import annotations

from typing import Any

import llvmlite.ir as llvm
from numba.core import ir, types

from simulator.kernels.compiler.lowering import LeanLower
from simulator.kernels.compiler.places import Place
from simulator.kernels.compiler.plain import declare_plain


class PlainLower(LeanLower):
    """Lowering of a function that cannot raise, which so needs no status beside its result."""

    @property
    def call_conv(self) -> Any:
        """Nothing that numba's lowering could use."""
        return None

    def emit_environment_object(self) -> None:
        """No environment: only exceptions and Python objects need one."""

    def setup_function(self, fndesc: Any) -> None:
        """Begin the LLVM function."""
        self.function = declare_plain(self.context, self.module, fndesc)
        self.function.linkage = "linkonce_odr"
        self.entry_block = self.function.append_basic_block("entry")
        self.builder = llvm.IRBuilder(self.entry_block)
        self.call_helper = None

    def extract_function_arguments(self) -> list[Any]:
        """The values of the arguments."""
        self.fnargs = []
        for kind, argument in zip(self.fndesc.argtypes, self.function.args, strict=True):
            own = self.context.get_value_type(kind)
            self.fnargs.append(argument if argument.type == own else Place(argument, {}))
        return self.fnargs

    def lower_inst(self, inst: Any) -> Any:
        """A return hands back the value itself."""
        if not isinstance(inst, ir.Return):
            return super().lower_inst(inst)
        if self.fndesc.restype == types.none:
            return self.builder.ret_void()
        return self.builder.ret(self.loadvar(inst.value.name))
