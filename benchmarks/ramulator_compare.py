"""Achieved fraction of peak against a CSV of Ramulator runs: ``ramulator_compare.py FILE``.

The file has the columns standard, address_map, pattern, n_reads, refresh, read_buffer and
frac_of_peak; ``randblkN`` is ``block:N``, ``strideN`` is ``stride:N``, and the letter before a map
is a label.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from simulator.config.loader import load_memory
from simulator.timing.memory import simulate_memory

PRESETS = {"HBM2": "hbm2-2000", "HBM3": "hbm3-6400"}
REFRESH = {"AllBank": "all", "PerBank": "per-bank", "None": "off"}


def pattern_of(name: str) -> str:
    if name == "seq":
        return "sequential"
    for prefix, kind in (("randblk", "block"), ("stride", "stride")):
        if name.startswith(prefix):
            return f"{kind}:{name.removeprefix(prefix)}"
    return name


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: ramulator_compare.py FILE")
    differences = []
    with Path(sys.argv[1]).open(newline="") as stream:
        for row in csv.DictReader(stream):
            result = simulate_memory(
                load_memory(PRESETS[row["standard"]]),
                pattern_of(row["pattern"]),
                requests=int(row["n_reads"]),
                queue=int(row["read_buffer"]),
                refresh=REFRESH[row["refresh"]],
                address_map=row["address_map"].split("_", 1)[-1],
            )
            theirs = float(row["frac_of_peak"])
            difference = 100 * (result.fraction_of_peak - theirs)
            differences.append(difference)
            print(
                f"{row['standard']} {result.address_map:22} {result.pattern:12} "
                f"{result.refresh:8} queue {result.queue:3} ours {result.fraction_of_peak:.4f} "
                f"theirs {theirs:.4f} difference {difference:+.2f} points"
            )
    size = np.abs(differences)
    inside = int((size <= 3).sum())
    print(f"{inside} of {size.size} rows within 3 percentage points")
    shares = ", ".join(f"p{p} {np.percentile(size, p):.2f}" for p in (50, 90, 99, 100))
    print(f"absolute difference in points: {shares}")


if __name__ == "__main__":
    main()
