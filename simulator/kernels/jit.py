"""The decorators of the kernels: compiled when first called, no Python objects.

``kernel`` is for functions that Python calls: they are cached on disk, with everything that they
call. ``inner`` is for functions that only kernels call; they get no machine code and no file of
their own. ``inlined`` ones are copied to wherever they are called. All are compiled by
``kernels.compiler`` where numba is the version that it knows.

numba decides whether a cached function is still good by the file that defines it, and does not see
that a constant or a function from another file has changed. So the cache lies in a folder that is
named after the content of every file that kernels are made of: an edit leads to another folder.

Wrappers for calls from C are left out (nobody makes any, and they cost an eighth of the time to
compile), and so are checks for division by zero (sizes and rates are validated before).
"""

# numba's own types are incomplete
# mypy: disable-error-code="attr-defined,import-untyped"

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from llvmlite import binding
from numba import njit, types, version_info
from numba.core import caching, config, event
from numba.core.runtime import _nrt_python, nrt

from simulator.kernels.folder import kernel_folder

KNOWN_NUMBA = (0, 68)
"""The version of numba whose internals ``kernels.compiler`` was tested with."""

F = TypeVar("F", bound=Callable[..., object])

# Not in numba's stubs, hence typed as Any.
_OPTIONS: dict[str, Any] = {"no_cfunc_wrapper": True, "error_model": "numpy"}
_KERNEL: dict[str, Any] = {**_OPTIONS}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
_INLINED: dict[str, Any] = {**_INNER, "forceinline": True}
_SHORT = tuple(version_info[:2]) == KNOWN_NUMBA
if _SHORT:
    from simulator.kernels.compiler.pipelines import InnerCompiler, KernelCompiler

    _KERNEL["pipeline_class"] = KernelCompiler
    _INNER["pipeline_class"] = _INLINED["pipeline_class"] = InnerCompiler
_register: Any = event.register
_config: Any = config
_unliteral: Any = types.unliteral


_FunctionCache: Any = caching.FunctionCache
_CompileResultCacheImpl: Any = caching.CompileResultCacheImpl
_allocator: Any = _nrt_python
_runtime: Any = nrt.rtsys
_llvm: Any = binding


class _CacheImpl(_CompileResultCacheImpl):  # type: ignore[misc]
    """What a file of the cache holds: machine code, and little else of what numba keeps.

    Left out are the environments of the functions inside a kernel (they hold Python objects that
    a function refers to, which kernels do not) and, where other kernels link a kernel as an inner
    function, its bitcode. Reading them takes longer than everything else that is done with the
    file.
    """

    def reduce(self, data: Any) -> Any:
        """A compiled function as what can be pickled."""
        (name, kind, code), function, *parts, _environments = data._reduce()
        allocates = True
        if _SHORT:
            allocates = _needs_compiled_allocator(data.library._final_module)
            machine_code, _bitcode = code
            # numba looks there for the names that the machine code defines
            defined = f'@"{function.llvm_cpython_wrapper_name}" = global i8 0'
            code = (machine_code, _llvm.parse_assembly(defined).as_bitcode())
        return allocates, ((name, kind, code), function, *parts, ())

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """A compiled function that can be called, from what was pickled."""
        allocates, parts = payload
        if allocates:
            _runtime.initialize(target_context)
        else:
            _tell_linker()
        return super().rebuild(target_context, parts)


def _needs_compiled_allocator(module: Any) -> bool:
    """Whether finished code calls what numba compiles of its allocator, and does not contain it."""
    compiled = {f.name for f in _runtime.library._final_module.functions if not f.is_declaration}
    return any(f.is_declaration and f.name in compiled for f in module.functions)


class _Cache(_FunctionCache):  # type: ignore[misc]
    """numba's cache, without what numba does for the sake of compiling before it reads a file.

    That is to fill its registries of types and targets and to compile its own allocator, which take
    most of the time that a command spends in numba if it finds its kernels compiled. Finished
    machine code needs no registries, and seldom more of the allocator than its parts in C.
    Compiling does what it needs by itself.
    """

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function of a signature, or None."""
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


@functools.cache
def _tell_linker() -> None:
    """Name the C functions of numba's allocator to LLVM, as ``_Runtime.initialize`` does."""
    for name, address in _allocator.c_helpers.items():
        _llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
    # the one part that is compiled, and that a large function may call instead of having it inside
    _llvm.add_symbol("NRT_MemInfo_data_fast", _allocator.c_helpers["MemInfo_data"])


@contextmanager
def kernel_cache() -> Iterator[None]:
    """Functions that are jitted inside are cached in the folder of these sources.

    Where that folder cannot be written numba falls back to the user's cache directory.
    """
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(kernel_folder())
    try:
        yield
    finally:
        _config.CACHE_DIR = before


def _one_for_all_constants(dispatcher: Any) -> Any:
    """Let calls with a constant share the function for variables, where numba makes another one.

    LLVM puts the constants in by itself where it inlines.
    """
    resolve = dispatcher.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        plain = {name: _unliteral(kind) for name, kind in kws.items()}
        return resolve(tuple(_unliteral(kind) for kind in args), plain)

    dispatcher.get_call_template = get_call_template
    return dispatcher


class _Lazy:
    """A jitted function that numba learns of when somebody calls it or compiles a call of it.

    A command calls a handful of the kernels whose modules it imports.
    """

    def __init__(self, function: Any, make: Callable[[Any], Any]) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._make = make
        self._made: Any = None

    def _dispatcher(self) -> Any:
        if self._made is None:
            self._made = self._make(self.py_func)
        return self._made

    @property
    def _numba_type_(self) -> Any:
        return self._dispatcher()._numba_type_

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self._made or self._dispatcher())(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._dispatcher(), name)


def _make_inner(function: Any) -> Any:
    return _one_for_all_constants(njit(**_INNER)(function))


def _make_inlined(function: Any) -> Any:
    return _one_for_all_constants(njit(**_INLINED)(function))


def _make_kernel(function: Any) -> Any:
    compiled: Any = njit(**_KERNEL)(function)
    if _SHORT:
        # other kernels link the function as an inner one
        linked = _Lazy(function, _make_inner)
        compiled.get_call_template = lambda args, kws: linked.get_call_template(args, kws)
        compiled.get_overload = lambda sig: linked.get_overload(sig)
    else:
        compiled = _one_for_all_constants(compiled)
    with kernel_cache():
        compiled._cache = _Cache(function)
    return compiled


def kernel(function: F) -> F:
    """Compile a function of integers, floats and arrays with numba, and cache the result."""
    lazy: Any = _Lazy(function, _make_kernel)
    kernel: F = lazy
    return kernel


def inner(function: F) -> F:
    """Compile a function that only kernels call."""
    lazy: Any = _Lazy(function, _make_inner)
    compiled: F = lazy
    return compiled


def inlined(function: F) -> F:
    """As ``inner``, for small steps of long loops: copied to wherever it is called.

    A small array that only such functions are given stays in the processor's registers.
    """
    lazy: Any = _Lazy(function, _make_inlined)
    compiled: F = lazy
    return compiled


class _Compiling(event.Listener):
    """Python's garbage collector rests while numba compiles: it finds little and looks at all."""

    def __init__(self) -> None:
        self._depth = 0
        self._collects = False

    def on_start(self, event: Any) -> None:
        """Called when numba begins to compile a function, maybe inside of another."""
        if self._depth == 0:
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1

    def on_end(self, event: Any) -> None:
        """Called when it is done."""
        self._depth -= 1
        if self._depth == 0 and self._collects:
            gc.enable()


class _Announcer(event.Listener):
    """Says on stderr, once a process, that kernels are being compiled and not read from disk."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Any) -> None:
        """Called when numba begins to compile a function that its cache does not hold."""
        if event.data["dispatcher"].py_func.__module__.startswith("simulator."):
            self.say()

    def say(self) -> None:
        """Say it, unless it was said."""
        if not self._said:
            self._said = True
            print(
                "chipsim: compiling this command's kernels, once on this machine (up to some 20 s)",
                file=sys.stderr,
            )

    def on_end(self, event: Any) -> None:
        """Nothing to say when it is done."""


_announcer = _Announcer()
announce = _announcer.say
_register("numba:compile", _announcer)
_register("numba:compile", _Compiling())
