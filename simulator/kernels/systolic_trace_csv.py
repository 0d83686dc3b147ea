"""Records of a systolic trace as lines of text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.jit import kernel

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@kernel
def _digits(value: int, out: Bytes, at: int) -> int:
    if value < 0:
        out[at] = 45
        at += 1
        value = -value
    length = 1
    rest = value // 10
    while rest > 0:
        rest //= 10
        length += 1
    for place in range(at + length - 1, at - 1, -1):
        out[place] = 48 + value % 10
        value //= 10
    return at + length


@kernel
def csv_lines(table: Ints, kinds: Bytes, names: Bytes, out: Bytes) -> int:
    """``cycle,memory,operand,access,address,stride,words`` as text; returns the bytes used.

    ``names`` has a row per kind with the three middle words, commas included, padded with zeros.
    ``out`` needs 120 bytes a record.
    """
    at = 0
    for i in range(table.shape[1]):
        at = _digits(table[0, i], out, at)
        for letter in names[kinds[i]]:
            if letter == 0:
                break
            out[at] = letter
            at += 1
        for column in range(1, 4):
            at = _digits(table[column, i], out, at)
            out[at] = 44 if column < 3 else 10
            at += 1
    return at
