"""The one decorator of the kernels: compiled when first called, cached on disk, no Python objects.

Wrappers for calls from C are left out; nobody makes any, and they cost an eighth of the time to
compile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core import event

F = TypeVar("F", bound=Callable[..., object])

# Not in numba's stubs, hence typed as Any.
OPTIONS: dict[str, Any] = {"cache": True, "no_cfunc_wrapper": True}
_register: Any = event.register


def kernel(function: F) -> F:
    """Compile a function of integers, floats and arrays with numba, and cache the result."""
    compiled: F = njit(**OPTIONS)(function)
    return compiled


class _Announcer(event.Listener):
    """Says on stderr, once a process, that kernels are being compiled and not read from disk."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Any) -> None:
        """Called when numba begins to compile a function that its cache does not hold."""
        module = event.data["dispatcher"].py_func.__module__
        if not self._said and module.startswith("simulator."):
            self._said = True
            print(
                "chipsim: compiling kernels for this machine (first run only, up to 20 s)",
                file=sys.stderr,
            )

    def on_end(self, event: Any) -> None:
        """Nothing to say when it is done."""


_register("numba:compile", _Announcer())
