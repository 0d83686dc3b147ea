"""The walk that skips periods equals the walk that visits every tile."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_pipeline_walk import Visit, run, tiles_of

from simulator.kernels.tile_pipeline import walk


def table(draw: st.DrawFn, shape: tuple[int, ...], values: st.SearchStrategy[int]) -> np.ndarray:
    size = int(np.prod(shape))
    cells = draw(st.lists(values, min_size=size, max_size=size))
    return np.array(cells, dtype=np.int64).reshape(shape)


@st.composite
def walks(draw: st.DrawFn) -> dict:
    high = draw(st.sampled_from([2, 9, 100, 10**9]))
    cycles = st.integers(0, high)
    return {
        "counts": tuple(draw(st.integers(1, 9)) for _ in range(3)),
        "credit": draw(st.sampled_from([0, 0, 1, high, 7 * high + 3, 1 << 60])),
        "weights": table(draw, (2, 2), cycles),
        "sizes": table(draw, (2, 2), st.integers(1, high)),
        "inputs": table(draw, (2, 2), cycles),
        "cycles": table(draw, (2, 2, 2), cycles),
        "stores": table(draw, (2, 2), cycles),
        "n_outer": draw(st.booleans()),
        "tails": (draw(st.integers(0, high)), draw(st.integers(0, high))),
    }


def both(case: dict) -> tuple[int, int]:
    """(kernel, tile by tile)."""
    nm, nn, nk = case["counts"]
    weights, sizes, inputs, cycles, stores = (
        case[name] for name in ("weights", "sizes", "inputs", "cycles", "stores")
    )
    fast = walk(
        case["credit"],
        nm,
        nn,
        nk,
        weights,
        sizes,
        inputs,
        cycles,
        stores,
        case["n_outer"],
        case["tails"],
    )

    def edge(index: int, count: int) -> int:
        return int(index == count - 1)

    slow = run(
        tiles_of(
            case["counts"],
            case["n_outer"],
            case["credit"],
            lambda n, k: int(weights[edge(n, nn), edge(k, nk)]),
            lambda n, k: int(sizes[edge(n, nn), edge(k, nk)]),
            lambda m, k: int(inputs[edge(m, nm), edge(k, nk)]),
            lambda m, n, k: int(cycles[edge(m, nm), edge(n, nn), edge(k, nk)]),
            lambda m, n: int(stores[edge(m, nm), edge(n, nn)]),
        ),
        *case["tails"],
    )
    return int(fast), slow


@settings(deadline=None, derandomize=True, max_examples=600)
@given(walks())
def test_skipping_periods_changes_nothing(case: dict) -> None:
    fast, slow = both(case)
    assert fast == slow


@settings(deadline=None, derandomize=True, max_examples=60)
@given(walks(), st.integers(0, 2), st.integers(40, 300))
def test_long_loops(case: dict, axis: int, length: int) -> None:
    counts = [min(c, 4) for c in case["counts"]]
    counts[axis] = length
    fast, slow = both({**case, "counts": tuple(counts)})
    assert fast == slow


def test_the_reference_by_hand() -> None:
    # load 4, 4, 4; compute 10 each; store 3 each:
    # the queue carries load0 0-4, load1 4-8, load2 14-18, store0 18-21, store1 24-27, store2 34-37
    assert run([Visit(4, 10, 3)] * 3) == 4 + 3 * 10 + 3
    # slow memory: load0 0-10, load1 10-20, load2 20-30, store0 30-35, store1 35-40, store2 40-45
    assert run([Visit(10, 2, 5)] * 3) == 45
    # results leave the array 8 later, the last one 5: computed at 14 and 24, load2 14-18,
    # store0 22-25, computed at 35, store1 32-35, store2 40-43
    assert run([Visit(4, 10, 3)] * 3, 8, 5) == 43


def test_loads_and_credit_change_the_time() -> None:
    case = {
        "counts": (3, 4, 5),
        "credit": 0,
        "weights": np.full((2, 2), 20),
        "sizes": np.full((2, 2), 640),
        "inputs": np.full((2, 2), 5),
        "cycles": np.full((2, 2, 2), 4),
        "stores": np.full((2, 2), 3),
        "n_outer": False,
        "tails": (13, 11),
    }
    cold, _ = both(case)
    # memory-bound: 60 tiles x 25 cycles of loads, 12 stores of 3, the last tile's 4 + 11
    assert cold == 60 * 25 + 11 * 3 + 4 + 11 + 3
    warm, _ = both({**case, "credit": 5 * 640})
    assert warm == cold - 100
