"""Kernels compute what Python computes: the short way to machine code against numba's and Python.

All other tests run kernels too; these look at one construction of the language at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.runtime import _nrt_python, rtsys

from simulator.kernels.jit import inner, kernel

FEW = settings(deadline=None, derandomize=True, max_examples=150)
WORDS = st.integers(-(10**6), 10**6)
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


def integers(a: int, b: int, out) -> None:
    d = b if b != 0 else 7
    out[0] = a + b
    out[1] = a - b
    out[2] = a * b
    out[3] = a // d
    out[4] = a % d
    out[5] = -a
    out[6] = a & b
    out[7] = a | b
    out[8] = a ^ b
    out[9] = a << (b & 15)
    out[10] = a >> (b & 15)
    out[11] = ~a
    out[12] = min(a, b, 3)
    out[13] = max(a, b, -3)
    out[14] = abs(a)
    out[15] = int(a < b) + 2 * int(a <= b) + 4 * int(a == b) + 8 * int(a != b)
    out[16] = int(a > b) + 2 * int(a >= b) + 4 * int(not a)
    out[17] = a if a > b else b
    out[18] = int(a < 5 < b) + 2 * int(a > 0 and b > 0) + 4 * int(a > 0 or b > 0)
    total = a
    total += 3
    total -= b
    total *= 2
    total //= 3
    total %= 1000
    out[19] = total


def reals(a: float, n: int, out) -> None:
    d = a if a != 0.0 else 0.5
    out[0] = a + n
    out[1] = n - a
    out[2] = a * n
    out[3] = n / d
    out[4] = n // d
    out[5] = n % d
    out[6] = -a
    out[7] = min(a, 1.5)
    out[8] = max(a, float(n))
    out[9] = abs(a)
    out[10] = math.ceil(a)
    out[11] = math.floor(a)
    out[12] = math.sqrt(abs(a))
    out[13] = int(a)
    out[14] = 1.0 if a < n else 0.0
    out[15] = 1.0 if a == n else 0.0
    out[16] = n / (n * n + 1)
    out[17] = round(a)
    out[18] = a**2
    out[19] = math.inf if a > n else 1.0


def loops(a: int, b: int, out) -> None:
    for i in range(len(out)):
        out[i] = 0
    for i in range(a % 7, b % 29, 3):
        out[0] += i
        if i % 5 == 4:
            continue
        out[1] += 1
        if i > 20:
            break
    for i in range(b % 17, -3, -2):
        out[2] = out[2] * 3 + i
    last = -1
    for last in range(a % 4):
        out[4] += last
    out[5] = last
    i = a % 50
    while True:
        i -= 7
        if i < 0:
            break
        out[6] += i
    for j in range(3):
        for k in range(j):
            out[7] += 10 * j + k
    rows = out[8:20]
    for k in range(-len(rows), 0):
        rows[k] = k * a


PROGRAMS = {"integers": integers, "loops": loops}


@FEW
@given(st.sampled_from(sorted(PROGRAMS)), WORDS, WORDS)
def test_integers_and_loops(name, a, b):
    outs = [np.zeros(20, dtype=np.int64) for _ in range(3)]
    PROGRAMS[name](a, b, outs[0])
    KERNELS[name](a, b, outs[1])
    NUMBA[name](a, b, outs[2])
    assert outs[1].tolist() == outs[0].tolist()
    assert outs[2].tolist() == outs[0].tolist()


@FEW
@given(FLOATS, WORDS)
def test_reals(a, n):
    outs = [np.zeros(20) for _ in range(3)]
    reals(a, n, outs[0])
    KERNELS["reals"](a, n, outs[1])
    NUMBA["reals"](a, n, outs[2])
    assert outs[1].tolist() == pytest.approx(outs[0].tolist(), rel=1e-15)
    assert outs[1].tolist() == outs[2].tolist()


KERNELS = {name: kernel(program) for name, program in (PROGRAMS | {"reals": reals}).items()}
NUMBA = {
    name: njit(error_model="numpy")(program)
    for name, program in (PROGRAMS | {"reals": reals}).items()
}


@inner
def swapped(pair: tuple[int, float]) -> tuple[float, int]:
    return pair[1], pair[0]


@inner
def squares(count: int, start: int):
    """A new array, of a size that only the call knows."""
    made = np.empty(count, dtype=np.int64)
    for i in range(count):
        made[i] = (start + i) ** 2
    return made


@inner
def small(start: int):
    """A new array of a constant size, which must outlive the call."""
    made = np.zeros(4, dtype=np.int64)
    made[1] = start
    return made


@inner
def next_of(value: int) -> int:
    return value + 1 if value < 100 else 0


@inner
def tail(values, first: int):
    return values[first:]


@kernel
def put_together(table, flags, count: int, out) -> float:
    room = np.zeros((2, 3), dtype=np.int64)
    for i in range(count):
        # anew in each turn
        each = np.zeros(3, dtype=np.int64)
        each[i % 3] += i
        room[i % 2, 1] += each[i % 3] + each[0]
    first, second = small(count), small(10 * count)
    made = squares(count, 2)
    real, whole = swapped((count, 0.5))
    out[0] = room[0, 1] + 100 * room[1, 1]
    out[1] = first[1] + second[1] + len(made)
    out[2] = made[-1] if count > 0 else -1
    row = table[1]
    out[3] = row[-1] + table[-1, -2] + table[0][1]
    out[4] = tail(row, 1)[0]
    part = table[:, 1:]
    out[5] = part[1, 0] + part.shape[1]
    for i in range(len(flags)):
        flags[i] = not flags[i] or i == 1
    out[6] = flags.sum()
    out[7] = next_of(count) + whole
    row[0] = 77
    return real


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_arrays_rows_and_functions_inside(count):
    table = np.arange(12, dtype=np.int64).reshape(3, 4)
    flags = np.array([True, True, False])
    out = np.zeros(8, dtype=np.int64)
    assert put_together(table, flags, count, out) == 0.5
    room = [0, 0]
    for i in range(count):
        room[i % 2] += i + (i if i % 3 == 0 else 0)
    assert out.tolist() == [
        room[0] + 100 * room[1],
        11 * count + count,
        (count + 1) ** 2 if count else -1,
        7 + 10 + 1,
        5,
        5 + 3,
        2,
        2 * count + 1,
    ]
    assert flags.tolist() == [False, True, True]
    assert table[1, 0] == 77


@kernel
def many_arrays(times: int) -> int:
    total = 0
    for i in range(times):
        made = squares(1000, i)
        total += made[i % 1000] & 1
    return total


def test_arrays_are_freed():
    _nrt_python.memsys_enable_stats()
    many_arrays(1)
    before = rtsys.get_allocation_stats()
    assert many_arrays(1000) == sum(((i + i % 1000) ** 2) & 1 for i in range(1000))
    after = rtsys.get_allocation_stats()
    assert after.alloc - before.alloc == after.free - before.free


def extremes(a, b, n: int, out) -> None:
    out[0] = min(a, b)
    out[1] = max(a, b)
    out[2] = min(a, n)
    out[3] = max(n, a)
    out[4] = min(a, b, n)
    out[5] = max(n, b, a)
    out[6] = min(b, 0.0)
    out[7] = max(0, b)


@pytest.mark.parametrize("a", [0.0, -0.0, 1.5, -2.5, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("b", [0.0, -0.0, 1.5, 3.0, -math.inf, math.nan])
def test_the_least_and_the_largest_of_odd_floats(a, b):
    for n in (-3, 0, 1, 3):
        outs = [np.zeros(8) for _ in range(3)]
        extremes(a, b, n, outs[0])
        EXTREMES[0](a, b, n, outs[1])
        EXTREMES[1](a, b, n, outs[2])
        # to the bit: the sign of a zero, too
        assert outs[1].tobytes() == outs[0].tobytes() == outs[2].tobytes()


EXTREMES = (kernel(extremes), njit(error_model="numpy")(extremes))


@inner
def filled_up(tables, depth: int) -> int:
    """Arrays of one to three dimensions whose sizes only the call knows, and one like another."""
    first, _ = tables
    cube = np.zeros((depth, len(first), 2))
    plane = np.empty((depth, 3), dtype=np.int64)
    like = np.empty_like(first)
    for i in range(depth):
        plane[i, 2] = i
        for j in range(len(first)):
            cube[i, j, 1] += first[j]
    total = 0.0
    for i in range(depth):
        total += plane[i, -1]
        for j in range(len(like)):
            like[j] = i
            total += cube[i, j, 0] + cube[i, j, 1] + like[j]
    return int(total) + cube.shape[1] * plane.shape[0]


@inner
def chosen(tables, swap: bool):
    """One of the members of a tuple that the caller owns, by way of variables of two blocks."""
    first, second = tables
    kept = first
    if swap:
        kept = second
    return kept[0] * 100 + first[0] * 10 + second[0]


@inner
def passed_on(tables, swap: bool, count: int) -> int:
    """A tuple as it came, and one that each turn of a loop makes anew."""
    total = chosen(tables, swap)
    earlier = tables
    for i in range(count):
        made = (earlier[1], earlier[0])
        total = total * 7 + chosen(made, swap) + chosen(tables, i % 2 == 0)
        earlier = made
    return total + chosen(earlier, swap)


@kernel
def in_memory(tables, swap: bool, count: int, out) -> int:
    out[0] = filled_up(tables, count)
    length = len(tables[0]) if count > 2 else -len(tables[-1])
    out[1] = passed_on(tables, swap, count)
    tables[1][0] += 1
    out[2] = chosen(tables, swap)
    return length


@contextmanager
def in_python() -> Iterator[None]:
    """Inside, functions that only kernels call are those that Python runs."""
    names = ("filled_up", "chosen", "passed_on")
    compiled = {name: globals()[name] for name in names}
    globals().update({name: function.py_func for name, function in compiled.items()})
    try:
        yield
    finally:
        globals().update(compiled)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 6])
def test_tuples_that_a_caller_owns(swap, count):
    tables = [(np.array([3, 0, 5])[::2], np.array([4, 6])) for _ in range(2)]
    outs = [np.zeros(3, dtype=np.int64) for _ in range(2)]
    with in_python():
        first = in_memory.py_func(tables[0], swap, count, outs[0])
    assert in_memory(tables[1], swap, count, outs[1]) == first
    assert outs[0].tolist() == outs[1].tolist()
    assert tables[0][1].tolist() == tables[1][1].tolist() == [5, 6]


@kernel
def branches(values, limit: int) -> int:
    """Loops that some ways pass by, in a function that owns an array."""
    owned = np.ones(limit, dtype=np.int64)
    total = 0
    for i in range(len(values)):
        value = values[i]
        if value > 0 and (i % 2 == 0 or value < 3):
            part = value * 2 if i % 3 == 0 else value
            for step in range(value):
                total += part + step
        if value < 0 or limit == 2:
            continue
        for k in range(limit):
            owned[k] += value
    return total * 1000 + owned.sum()


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_loops_that_some_ways_pass_by(limit):
    values = np.array([2, -1, 5, 1, 0, 2, 7])
    assert branches(values, limit) == branches.py_func(values, limit)
