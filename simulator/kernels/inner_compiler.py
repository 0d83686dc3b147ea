"""How numba compiles a function that only kernels call.

numba makes machine code of every function by itself, and optimises it again, with all that it
calls, wherever it is linked in. A function that is always linked into a kernel needs neither: it is
optimised and turned into machine code once, as part of the kernel. That is half of the time that
compiling takes. What is replaced here are the two last passes of numba's pipeline for such a
function, and what its code library does when it is complete.
"""

from __future__ import annotations

from typing import Any

from numba.core import compiler, compiler_machinery, typed_passes

_CompilerBase: Any = compiler.CompilerBase
_LoweringPass: Any = compiler_machinery.LoweringPass
_register_pass: Any = compiler_machinery.register_pass


def _leave_alone() -> None:
    """Instead of optimising a module that will be optimised where it is linked in."""


@_register_pass(mutates_CFG=False, analysis_only=False)
class _KeepModule(_LoweringPass):  # type: ignore[misc]
    """Before lowering: the library keeps its module as it is, for linking."""

    _name = "chipsim_keep_module"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        state.library = library

        def complete() -> None:
            library._finalize_dynamic_globals()
            library._finalized = True

        library._optimize_final_module = _leave_alone
        library._finalize_final_module = complete
        state.flags.no_compile = True
        return True


@_register_pass(mutates_CFG=False, analysis_only=False)
class _Enlist(_LoweringPass):  # type: ignore[misc]
    """After lowering: callers find the function by an entry point that only serves as its name."""

    _name = "chipsim_enlist"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        # numba asks for a builtin function, one for each; this one raises whatever it is given
        lowered, entry_point = state["cr"], {}.popitem
        state.targetctx.insert_user_function(entry_point, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=entry_point)
        return True


class InnerCompiler(_CompilerBase):  # type: ignore[misc]
    """numba's pipeline for nopython functions, without machine code."""

    def define_pipelines(self) -> list[Any]:
        """The one pipeline, see ``numba.core.compiler.Compiler``."""
        builder: Any = compiler.DefaultPassBuilder
        pipeline = builder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_KeepModule, typed_passes.AnnotateTypes)
        pipeline.add_pass_after(_Enlist, typed_passes.NativeLowering)
        pipeline.finalize()
        return [pipeline]
