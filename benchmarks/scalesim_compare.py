"""Compare with files of SCALE-Sim 3.0.0 runs.

    python benchmarks/scalesim_compare.py IDEAL.csv [BANDWIDTH.csv]

IDEAL.csv: runs with ideal memory; compute cycles (ours less one), SRAM reads of both operands and
mapping efficiency must be equal on every row. BANDWIDTH.csv: runs with a finite one; the
distribution of the relative differences in total cycles, and the rows beyond 10 %.
"""

from __future__ import annotations

import csv
import sys
from fractions import Fraction
from pathlib import Path

from simulator.timing.systolic import SystolicCase, systolic_timing


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream))


def case_of(row: dict[str, str]) -> SystolicCase:
    shape = (int(row[name]) for name in ("M", "K", "N", "rows", "cols"))
    if not row["bandwidth_words_per_cycle"]:
        return SystolicCase(*shape, row["dataflow"])
    sizes = (1024 * int(row[f"{name}_sram_kb"]) for name in ("ifmap", "filter", "ofmap"))
    bandwidth = Fraction(row["bandwidth_words_per_cycle"])
    return SystolicCase(*shape, row["dataflow"], "single", 1, 1, *sizes, bandwidth)


def compare_ideal(path: str) -> bool:
    rows = rows_of(path)
    equal = 0
    for row in rows:
        timing = systolic_timing(case_of(row))
        same = (
            timing.cycles - 1 == int(row["compute_cycles"])
            and timing.sram_ifmap_reads == int(row["sram_ifmap_reads"])
            and timing.sram_filter_reads == int(row["sram_filter_reads"])
            and abs(100 * timing.mapping_efficiency - float(row["mapping_efficiency"])) < 1e-5
        )
        equal += same
        if not same:
            print(f"differs: {row['case_id']} {timing}")
    print(f"ideal memory: {equal} of {len(rows)} rows equal")
    return equal == len(rows)


def compare_bandwidth(path: str) -> None:
    differences = []
    for row in rows_of(path):
        timing = systolic_timing(case_of(row))
        theirs = int(row["total_cycles"]) + 1
        differences.append((timing.cycles / theirs - 1, row, timing, theirs))
    sizes = [abs(difference) for difference, *_ in differences]
    print(f"finite bandwidth: {len(sizes)} rows")
    low = 0.0
    print(f"  equal: {sum(size == 0 for size in sizes)}")
    for high in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        print(f"  {low:4.0%} to {high:4.0%}: {sum(low < size <= high for size in sizes)}")
        low = high
    print(f"  ours longer: {sum(d > 0 for d, *_ in differences)}")
    print("rows beyond 10 %: total cycles theirs, ours; words read by both ports theirs, ours")
    for difference, row, timing, theirs in differences:
        if abs(difference) > 0.1:
            shape = f"{row['M']}x{row['K']}x{row['N']} {row['rows']}x{row['cols']}"
            words = int(row["dram_ifmap_reads"]) + int(row["dram_filter_reads"])
            slower = max(int(row["dram_ifmap_reads"]), int(row["dram_filter_reads"]))
            print(
                f"  {row['case_id']} {shape} {row['dataflow']} "
                f"{row['ifmap_sram_kb']} KiB {row['bandwidth_words_per_cycle']:>3} w/c: "
                f"{theirs:>6} {timing.cycles:>6} {difference:>+7.1%}   {words:>7} "
                f"{timing.dram_reads:>6}   busier port there "
                f"{slower / float(row['bandwidth_words_per_cycle']):>8.0f} cycles"
            )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    exact = compare_ideal(sys.argv[1])
    if len(sys.argv) == 3:
        compare_bandwidth(sys.argv[2])
    raise SystemExit(not exact)
