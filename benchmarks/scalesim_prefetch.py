"""Why SCALE-Sim 3.0.0 fetches what it fetches: its prefetcher, rebuilt from its description.

    python benchmarks/scalesim_prefetch.py BANDWIDTH.csv

For the runs with 10 words per cycle: fetches of half a buffer for A and B as the file has them, as
rebuilt here, and as they would be had the operand been laid out in the order of its use. The
prefetcher holds a window of lines over the operand, laid out in one order, and can only move it
forward, around the end; see docs/systolic.md.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

Word = tuple[int, int]


def fetches(layout: Sequence[Word | None], demand: Sequence[Word], size: int) -> int:
    """Moves of the window after the first fill. None stands for padding."""
    per_line = math.ceil(size / 100)
    line_of: dict[Word, int] = {}
    words = [word for word in layout if word is not None]
    for index, word in enumerate(words):
        line_of[word] = index // per_line
    lines = len(words) // per_line + 1
    active = min(lines, math.ceil(math.ceil(size / 2) / per_line))
    step = min(lines - active, math.ceil((size - math.ceil(size / 2)) / per_line))
    start, moves = 0, 0
    for word in demand:
        while (line_of[word] - start) % lines >= active:
            start = (start + step) % lines
            moves += 1
    return moves


def skewed(vectors: int, extent: int, side: int, fold: int) -> Iterator[Word]:
    """What a fold takes of a streamed operand, cycle by cycle, with the skew of its rows."""
    for t in range(vectors + side - 1):
        for i in range(side):
            if 0 <= t - i < vectors and fold * side + i < extent:
                yield t - i, fold * side + i


def stacked_diagonals(vectors: int, extent: int, side: int) -> list[Word | None]:
    """Its layout of a streamed operand: one skew over all folds stacked on one another."""
    folds = math.ceil(extent / side)
    layout: list[Word | None] = []
    for diagonal in range(folds * vectors + side):
        first = min(diagonal, folds * vectors - 1)
        for row in range(first, max(0, diagonal - side + 1) - 1, -1):
            word = (row % vectors, row // vectors * side + diagonal - row)
            layout.append(word if word[1] < extent else None)
    return layout


def streamed(vectors: int, extent: int, side: int, uses: list[int]) -> tuple[list, list, list]:
    """Layout, demand and layout in the order of use; ``uses`` are the folds one after another."""
    demand = [word for fold in uses for word in skewed(vectors, extent, side, fold)]
    return stacked_diagonals(vectors, extent, side), demand, list(dict.fromkeys(demand))


def stationary(extent: int, across: int, rows: int, cols: int) -> tuple[list, list, list]:
    """As ``streamed``, for an operand that is loaded last row first."""
    layout, demand = [], []
    for j0 in range(0, across, cols):
        columns = range(j0, min(across, j0 + cols))
        layout += [(k, j) for k in range(extent) for j in columns]
        for i0 in range(0, extent, rows):
            last = min(extent, i0 + rows) - 1
            demand += [(k, j) for k in range(last, i0 - 1, -1) for j in columns]
    return layout, demand, list(demand)


def operands(row: dict[str, str]) -> tuple[tuple, tuple]:
    """Layouts and demands of A and of B."""
    m, k, n, r, c = (int(row[name]) for name in ("M", "K", "N", "rows", "cols"))
    folds = {"m": math.ceil(m / r), "k": math.ceil(k / r), "n": math.ceil(n / c)}
    if row["dataflow"] == "ws":
        return streamed(m, k, r, list(range(folds["k"])) * folds["n"]), stationary(k, n, r, c)
    if row["dataflow"] == "is":
        uses = list(range(folds["k"])) * math.ceil(m / c)
        return stationary(k, m, r, c), streamed(n, k, r, uses)
    held = [fold for fold in range(folds["n"]) for _ in range(folds["m"])]
    uses = list(range(folds["m"])) * folds["n"]
    return streamed(k, m, r, uses), streamed(k, n, c, held)


def main(path: str) -> None:
    with Path(path).open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["bandwidth_words_per_cycle"] == "10"]
    print("case       A: file rebuilt in order of use      B: file rebuilt in order of use")
    for row in rows:
        line = f"{row['case_id']} {row['dataflow']}"
        for name, (layout, demand, ordered) in zip(("ifmap", "filter"), operands(row), strict=True):
            size = 1024 * int(row[f"{name}_sram_kb"])
            half = math.ceil(size / 2 / 10) * 10
            there = math.ceil(int(row[f"dram_{name}_reads"]) / half)
            rebuilt, better = (1 + fetches(order, demand, size) for order in (layout, ordered))
            line += f"   {there:>10} {rebuilt:>7} {better:>15}"
        print(line)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
