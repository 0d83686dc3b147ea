"""Prices beside what other laboratories measured: error and bias of each.

    python benchmarks/other_laboratories.py [--rows]

The rows are single figures, carried over by hand: matmuls in ``other_laboratories.csv`` and, for
the chips whose parameters are fitted to some of them, in ``configs/measurements``; collectives in
``other_fabrics.csv``; causal prompts, of the attention kernel alone, in ``other_attention.csv``.
``floor``: the error once the least time of each laboratory is under each price, which is what its
host takes for a launch where that is above the kernel's.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from simulator import api
from simulator.config import load_system
from simulator.config.loader import load_chip
from simulator.fabric.collectives import price_collective

HERE = Path(__file__).parent
FITTED = HERE.parent / "configs" / "measurements"
NAMES = {"a40": "Vidur", "mi300x": "AMD and others"}

Row = dict[str, str]


def read(name: str) -> Iterator[Row]:
    """All rows of a file beside this one."""
    with (HERE / name).open() as file:
        yield from csv.DictReader(file)


def matmuls() -> Iterator[Row]:
    """All matmuls, those of ``configs/measurements`` split by their use in the fit."""
    yield from read("other_laboratories.csv")
    for chip, name in NAMES.items():
        with (FITTED / f"{chip}.matmul.csv").open() as file:
            for row in csv.DictReader(file):
                yield {**row, "chip": chip, "laboratory": f"{name}, {row['use']}", "buffers": "0"}


def matmul_seconds(rows: list[Row]) -> np.ndarray:
    """Seconds of each row of one chip, data type and number of buffers."""
    first = rows[0]
    shapes = np.array([[int(row[name]) for name in ("m", "k", "n")] for row in rows])
    return api.matmul_seconds(
        load_chip(first["chip"]), shapes, first["dtype"], rotating_buffers=int(first["buffers"])
    )


def collective_seconds(rows: list[Row]) -> np.ndarray:
    """Seconds of each row of one system, by the collective library's algorithms."""
    return np.array(
        [
            price_collective(
                load_system(f"{row['system']}:{row['ranks']}").fabric, row["op"], int(row["bytes"])
            ).time_s
            for row in rows
        ]
    )


def attention_seconds(rows: list[Row]) -> np.ndarray:
    """Seconds of causal prompts with as many key-value as query heads, without the update."""
    cases = []
    for row in rows:
        batch, heads, dim, context = (
            int(row[name]) for name in ("batch", "heads", "head_dim", "context")
        )
        cases.append(api.AttentionCase(batch, heads, heads, dim, context, "prefill", update=False))
    return np.array([timing.time_s for timing in api.price_attentions(rows[0]["chip"], cases)])


KINDS: dict[str, tuple[Callable[[list[Row]], np.ndarray], tuple[str, ...], tuple[str, ...]]] = {
    "matmul": (matmul_seconds, ("laboratory", "chip", "dtype"), ("m", "k", "n")),
    "collective": (
        collective_seconds,
        ("laboratory", "system", "ranks"),
        ("op", "ranks", "bytes"),
    ),
    "attention": (
        attention_seconds,
        ("laboratory", "chip", "head_dim"),
        ("batch", "heads", "context"),
    ),
}
"""Of each operator: its prices, the columns that make a group, and those that name a row."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true", help="each row, too")
    words = parser.parse_args()
    sources = {
        "matmul": matmuls(),
        "collective": read("other_fabrics.csv"),
        "attention": read("other_attention.csv"),
    }
    print("| operator | laboratory | of | | rows | measured | mean error | bias | floor |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, (price_of, group, shape) in KINDS.items():
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in sources[kind]:
            groups.setdefault(tuple(row[name] for name in group), []).append(row)
        for key, rows in sorted(groups.items()):
            measured = np.array([float(row["measured_s"]) for row in rows])
            price = price_of(rows)
            error = 100 * (price / measured - 1)
            above = 100 * (np.maximum(price, measured.min()) / measured - 1)
            spread = f"{measured.min() * 1e6:.4g}–{measured.max() * 1e6:.4g} µs"
            wrongs = (
                f"{abs(error).mean():.1f} % | {error.mean():+.1f} % | {abs(above).mean():.1f} %"
            )
            print(f"| {kind} | {' | '.join(key)} | {len(rows)} | {spread} | {wrongs} |")
            if words.rows:
                for row, each, wrong in zip(rows, measured, error, strict=True):
                    name = "x".join(row[column] for column in shape)
                    print(f"    {name} {each * 1e6:.5g} µs {wrong:+.1f} %")


if __name__ == "__main__":
    main()
