"""Prices of matmuls beside what other laboratories measured: error and bias of each.

    python benchmarks/other_laboratories.py [--rows]

The rows are single figures, carried over by hand, in ``other_laboratories.csv`` and, for the chips
whose parameters are fitted to some of them, in ``configs/measurements``. ``floor``: the error once
the host's least time for a launch, that of the laboratory's smallest kernel, is under each price.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simulator import api
from simulator.config.loader import load_chip

HERE = Path(__file__).parent
FITTED = HERE.parent / "configs" / "measurements"
NAMES = {"a40": "Vidur", "mi300x": "AMD and others"}


def read() -> Iterator[dict[str, str]]:
    """All rows, those of ``configs/measurements`` split by their use in the fit."""
    with (HERE / "other_laboratories.csv").open() as file:
        yield from csv.DictReader(file)
    for chip, name in NAMES.items():
        with (FITTED / f"{chip}.matmul.csv").open() as file:
            for row in csv.DictReader(file):
                yield {**row, "chip": chip, "laboratory": f"{name}, {row['use']}", "buffers": "0"}


def priced(rows: list[dict[str, str]]) -> np.ndarray:
    """Seconds of each row of one chip, data type and number of buffers."""
    first = rows[0]
    shapes = np.array([[int(row[name]) for name in ("m", "k", "n")] for row in rows])
    return api.matmul_seconds(
        load_chip(first["chip"]), shapes, first["dtype"], rotating_buffers=int(first["buffers"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true", help="each row, too")
    words = parser.parse_args()
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in read():
        groups.setdefault((row["laboratory"], row["chip"], row["dtype"]), []).append(row)
    print("| laboratory | chip | dtype | rows | measured | mean error | bias | floor |")
    print("|---|---|---|---|---|---|---|---|")
    for (laboratory, chip, dtype), rows in sorted(groups.items()):
        measured = np.array([float(row["measured_s"]) for row in rows])
        price = priced(rows)
        error = 100 * (price / measured - 1)
        above = 100 * (np.maximum(price, measured.min()) / measured - 1)
        print(
            f"| {laboratory} | {chip} | {dtype} | {len(rows)}"
            f" | {measured.min() * 1e6:.4g}–{measured.max() * 1e6:.4g} µs"
            f" | {abs(error).mean():.1f} % | {error.mean():+.1f} % | {abs(above).mean():.1f} % |"
        )
        if words.rows:
            for row, each, wrong in zip(rows, measured, error, strict=True):
                shape = "x".join(row[name] for name in ("m", "k", "n"))
                print(f"    {shape} {each * 1e6:.5g} µs {wrong:+.1f} %")


if __name__ == "__main__":
    main()
