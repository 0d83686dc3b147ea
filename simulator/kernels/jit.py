"""The one decorator of the kernels: compiled when first called, cached on disk, no Python objects.

Wrappers for calls from C are left out; nobody makes any, and they cost an eighth of the time to
compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile a function of integers, floats and arrays with numba, and cache the result."""
    compiled: F = njit(cache=True, no_cfunc_wrapper=True)(function)
    return compiled
