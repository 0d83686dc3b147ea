"""The first run compiles the serving loop in a process of its own, beside everything else.

The loop takes longer than all other kernels of a run together, and numba compiles one function at
a time in a process. ``start`` imports nothing that takes time, so that a command can call it before
anything else.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING

from simulator.kernels.folder import lacks

if TYPE_CHECKING:
    import subprocess

_LOOP = "loop.advance"
_helpers: list[subprocess.Popen[bytes]] = []


def start() -> None:
    """Begin to compile the loop where it is not compiled and there is a core to do it."""
    if _helpers or (os.cpu_count() or 1) < 2 or not sys.executable or not lacks(_LOOP):
        return
    import subprocess

    # all that numba makes stays until the end: looking for garbage finds none
    command = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}; "
        f"import {__name__} as ahead; ahead.compile_loop()"
    )
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


def finish() -> None:
    """Compile the prices meanwhile, and return when the other process is done.

    Whatever it left undone is compiled here, when it is first called.
    """
    if not _helpers or _helpers[0].returncode is not None:
        return
    from simulator.kernels.jit import announce

    announce()
    compile_prices()
    _helpers[0].wait()


def compile_loop() -> None:
    """Compile ``advance``, by running nothing."""
    import numpy as np

    from simulator.kernels.arrays import Int64Array
    from simulator.serving import fields, loop

    def room(axes: int) -> Int64Array:
        return np.zeros((0,) * axes, dtype=np.int64)

    flags = np.zeros(0, dtype=np.bool_)
    settings = np.zeros(fields.SETTINGS, dtype=np.int64)
    counters = np.zeros(fields.COUNTERS, dtype=np.int64)
    prefixes = (room(1), room(2), room(1))
    state = (settings, counters, room(2), room(1), room(1), room(1), room(2), prefixes)
    packed = (room(1), room(1), room(2), flags, room(2), room(2), room(1))
    known = (room(3), flags, room(2), room(1))
    work = (room(1), room(2), room(1))
    scratch = (*(room(3), room(1), room(1), room(1), room(1)), work, room(1))
    priced = np.zeros((2, 0), dtype=np.bool_)
    sums = np.zeros(0, dtype=np.float64)
    tally = (room(1), sums, sums, np.zeros((0, 0), dtype=np.float64))
    # it stops at once, since it is not before the horizon
    loop.advance(state, room(4), priced, packed, known, scratch, tally, room(2), 0)


def compile_prices() -> None:
    """Compile the prices, by pricing nothing."""
    import numpy as np

    from simulator.kernels.executor import PRICE_FIELDS
    from simulator.timing.prices import PLAN_FIELDS
    from simulator.timing.rows import price_rows

    none = np.zeros(0, dtype=np.int64)
    nothing = np.zeros((0, PLAN_FIELDS), dtype=np.int64)
    price_rows(none, nothing, none, nothing, 0, False, np.zeros((0, 2, PRICE_FIELDS), np.int64))
