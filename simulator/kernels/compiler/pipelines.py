"""How numba compiles kernels and the functions that only kernels call.

numba makes machine code of every function by itself, and optimises it again, with all that it
calls, wherever it is linked in. A function that is always linked into a kernel needs neither: it is
optimised and turned into machine code once, as part of the kernel.
"""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,union-attr,misc,import-untyped"

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import binding as _binding
from numba.core import (
    bytecode,
    codegen,
    compiler,
    compiler_machinery,
    cpu,
    funcdesc,
    interpreter,
    ir,
    ir_utils,
    postproc,
    ssa,
    typed_passes,
    types,
    untyped_passes,
)
from numba.core.rewrites import static_getitem

from simulator.kernels.compiler.bookkeeping import spare_bookkeeping
from simulator.kernels.compiler.lowering import LeanLower
from simulator.kernels.compiler.operator_types import remembered
from simulator.kernels.compiler.plain import MayRaise, PlainContext, plain
from simulator.kernels.compiler.plain_lowering import PlainLower
from simulator.kernels.compiler.stack_arrays import (
    allocate_here,
    is_on_stack,
    keep_on_stack,
)

_llvm: Any = _binding
_Library: Any = codegen.JITCodeLibrary
_CompilerBase: Any = compiler.CompilerBase
_typed: Any = typed_passes
_untyped: Any = untyped_passes
_postproc: Any = postproc
_static_getitem: Any = static_getitem
_ssa: Any = ssa
_ir_utils: Any = ir_utils
_funcdesc: Any = funcdesc
_compiler: Any = compiler
_bytecode: Any = bytecode
_interpreter: Any = interpreter
_register_pass: Any = compiler_machinery.register_pass

_FOREIGN = (
    _interpreter.peep_hole_delete_with_exit,
    _interpreter.peep_hole_fuse_dict_add_updates,
)
"""Passes over bytecode for constructions that no kernel has: ``with``, and dictionaries."""

LARGE = 120
"""Functions with more instructions than this are called, not copied to where they are called."""


class _Part(_Library):
    """The code of an inner function, as it was lowered, to be linked into kernels."""

    def add_ir_module(self, module: Any) -> None:
        """Take over the one module of the function, for kernels that need it."""
        for function in module.functions:
            if function.blocks and not function.linkage:
                function.linkage = "linkonce_odr"
            size = sum(len(block.instructions) for block in function.blocks)
            if size > LARGE and "alwaysinline" not in function.attributes:
                function.attributes.add("noinline")
        parsed = _llvm.parse_assembly(str(module))
        parsed.name = module.name
        self._final_module = self._shared_module = parsed

    def finalize(self) -> None:
        """Keep the module as it is; callees stay apart, so that a kernel links each only once."""
        self._finalize_dynamic_globals()
        self._finalized = True


class _Whole(_Library):
    """The code of a kernel, with that of every function that it calls, directly or not."""

    def _optimize_functions(self, module: Any) -> None:
        """Nothing: the whole kernel is optimised at once."""

    def _optimize_final_module(self) -> None:
        """As numba does, without vectorizers: the loops are short, or depend on themselves."""
        passes, builder = self._codegen._module_pass_manager(
            loop_vectorize=False, slp_vectorize=False
        )
        passes.run(self._final_module, builder)

    def finalize(self) -> None:
        """Link, optimise and make machine code."""
        for library in _needed(self, set()):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        for function in self._final_module.functions:
            if function.linkage == _llvm.Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = "internal"
        self._optimize_final_module()
        self._finalize_final_module()


def _needed(library: Any, seen: set[Any]) -> Iterator[Any]:
    for needed in library._linking_libraries:
        if needed not in seen:
            seen.add(needed)
            yield needed
            if isinstance(needed, _Part):
                yield from _needed(needed, seen)


class _Interpreter(_interpreter.Interpreter):
    """numba's way from bytecode to its IR, without looking for what no kernel has."""

    def post_process(self, peepholes: Any, func_ir: Any) -> Any:
        """Neither contexts (``with``) nor dictionaries."""
        return super().post_process([p for p in peepholes if p not in _FOREIGN], func_ir)


class _Passes:
    """What numba's pass manager does, with those passes only that kernels need.

    numba brings a function into its canonical form again after each of some thirty passes.
    """

    pipeline_name = "nopython"

    def __init__(self, linked: bool) -> None:
        self.exec_times: dict[str, float] = {}
        self._linked = linked

    def run(self, state: Any) -> None:
        """Compile the function of a state."""
        spare_bookkeeping()
        declared = state.return_type
        stacked = _translate(state, True)
        _infer(state)
        if stacked and _holds_array(state.return_type):
            # what is returned must outlive the call
            state.return_type = declared
            _translate(state, False)
            _infer(state)
        counted = _counts_references(state)
        if counted:
            _typed.IRLegalization().run_pass(state)
        else:
            state.targetctx.enable_nrt = False
        if not self._linked:
            state.library = _Whole(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            _LeanLowering().run_pass(state)
        elif counted or not _lower_plain(state):
            state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
            state.flags.no_compile = True
            _LeanLowering().run_pass(state)
            _enlist(state)
        _typed.NoPythonBackend().run_pass(state)


def _lower_plain(state: Any) -> bool:
    """Lower a function as one that cannot raise; False, and nothing done, where it might."""
    target, usual = state.targetctx, state.targetctx.__class__
    if usual is not cpu.CPUContext:
        return False
    library = _Part(target.codegen(), state.func_id.func_qualname)
    fndesc = _funcdesc.PythonFunctionDescriptor.from_specialized_function(
        state.func_ir,
        state.typemap,
        state.return_type,
        state.calltypes,
        mangler=target.mangler,
        inline=state.flags.forceinline,
        noalias=state.flags.noalias,
        abi_tags=[state.flags.get_mangle_string()],
    )
    target.__class__ = PlainContext
    try:
        with target.push_code_library(library):
            lower = PlainLower(target, library, fndesc, state.func_ir, metadata=state.metadata)
            lower.lower()
    except MayRaise:
        return False
    finally:
        target.__class__ = usual
    nothing: dict[str, str] = {}
    entry_point = nothing.popitem
    plain[entry_point] = (fndesc, library)
    state.library = library
    state["cr"] = _compiler._LowerResult(fndesc, None, cfunc=entry_point, env=lower.env)
    return True


def _infer(state: Any) -> None:
    """Find the types of all variables."""
    with remembered():
        _typed.NopythonTypeInference().run_pass(state)
    _typed.PreLowerStripPhis().run_pass(state)


def _translate(state: Any, stack: bool) -> bool:
    """From bytecode to numba's IR, in SSA form; whether arrays were put on the stack."""
    state.func_ir = _Interpreter(state.func_id).interpret(_bytecode.ByteCode(state.func_id))
    _untyped.FixupArgs().run_pass(state)
    _postproc.PostProcessor(state.func_ir).run()
    stacked = stack and keep_on_stack(state.func_ir)
    allocate_here(state.func_ir)
    blocks = state.func_ir.blocks
    for key, block in list(blocks.items()):
        rewrite = _static_getitem.RewriteConstGetitems(state)
        if rewrite.match(state.func_ir, block, None, None):
            blocks[key] = rewrite.apply()
    state.func_ir = _ssa.reconstruct_ssa(state.func_ir)
    state.func_ir._definitions = _ir_utils.build_definitions(state.func_ir.blocks)
    return stacked


def _holds_array(kind: Any) -> bool:
    if isinstance(kind, types.BaseTuple):
        return any(_holds_array(member) for member in kind)
    return isinstance(kind, types.Array)


def _counts_references(state: Any) -> bool:
    """Whether a function may own an array: it gets one from a call, or returns one.

    All others only see arrays that a caller owns and keeps.
    """
    if _holds_array(state.return_type):
        return True
    return any(
        kind is not None and _holds_array(kind.return_type)
        for what, kind in state.calltypes.items()
        if isinstance(what, ir.Expr)
        and what.op == "call"
        and not is_on_stack(state.typemap[what.func.name])
    )


@_register_pass(mutates_CFG=True, analysis_only=False)
class _LeanLowering(_typed.BaseNativeLowering):
    _name = "chipsim_lowering"

    @property
    def lowering_class(self) -> Any:
        return LeanLower


def _enlist(state: Any) -> None:
    """Callers find the function by an entry point that only serves as its name."""
    # numba asks for a builtin function, one for each; this one raises whatever it is given
    nothing: dict[str, str] = {}
    lowered, entry_point = state["cr"], nothing.popitem
    state.targetctx.insert_user_function(entry_point, lowered.fndesc, [state.library])
    state["cr"] = lowered._replace(cfunc=entry_point)


class InnerCompiler(_CompilerBase):
    """numba's pipeline for nopython functions, without machine code."""

    def define_pipelines(self) -> list[Any]:
        """The one pipeline, see ``numba.core.compiler.Compiler``."""
        return [_Passes(True)]


class KernelCompiler(_CompilerBase):
    """numba's pipeline for nopython functions, which links every function once."""

    def define_pipelines(self) -> list[Any]:
        """The one pipeline, see ``numba.core.compiler.Compiler``."""
        return [_Passes(False)]
