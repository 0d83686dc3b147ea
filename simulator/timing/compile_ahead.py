"""The first run compiles the prices in a process of its own, beside the serving loop.

The two are the largest kernels and know nothing of each other, and numba compiles one function at
a time in a process.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys

import numpy as np

from simulator.kernels.executor import PRICE_FIELDS
from simulator.kernels.jit import is_compiled
from simulator.timing.prices import PLAN_FIELDS
from simulator.timing.rows import price_rows

_helpers: list[subprocess.Popen[bytes]] = []


def start() -> None:
    """Begin to compile the prices where they are not compiled and there is a core to do it."""
    if _helpers or (os.cpu_count() or 1) < 2 or not sys.executable or is_compiled(price_rows):
        return
    command = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as ahead; ahead.compile()"
    try:
        helper = subprocess.Popen(
            [sys.executable, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return
    _helpers.append(helper)
    atexit.register(helper.kill)


def wait() -> None:
    """Return when the other process is done; whatever it left undone is compiled here."""
    for helper in _helpers:
        helper.wait()


def compile() -> None:
    """Compile the prices, by pricing nothing."""
    none = np.zeros(0, dtype=np.int64)
    nothing = np.zeros((0, PLAN_FIELDS), dtype=np.int64)
    price_rows(none, nothing, none, nothing, 0, False, np.zeros((0, 2, PRICE_FIELDS), np.int64))
