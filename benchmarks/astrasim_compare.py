"""Compare collective times with a table of ASTRA-sim runs.

    python benchmarks/astrasim_compare.py RUNS.csv

The columns are those of ASTRA-sim's analytical backend: backend, topology, npus, bw_GBps_per_dim
(its GB is 2**30), lat_ns_per_dim, op, comm_size_bytes (for an all-gather the shard of one rank),
impl_per_dim, dataset_splits, active_chunks, endpoint_delay_ns, local_mem_bw_GBps, time_ns.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from simulator.errors import ChipsimError
from simulator.fabric.cases import plain_fabric
from simulator.fabric.collectives import price_collective

TOPOLOGY = {"Ring": "ring", "Switch": "switch", "FullyConnected": "fully-connected"}
IMPLEMENTATION = {"halvingDoubling": "halving-doubling"}
GIB = 2**30


def our_time_ns(row: dict[str, str]) -> float | None:
    """Our time of a run on one dimension; None where there is no counterpart."""
    if row["topology"] not in TOPOLOGY:
        return None
    ranks = int(row["npus"])
    fabric = plain_fabric(
        TOPOLOGY[row["topology"]],
        (ranks,),
        bandwidth_bytes_per_s=int(float(row["bw_GBps_per_dim"]) * GIB),
        latency_ps=int(float(row["lat_ns_per_dim"]) * 1000),
        endpoint_delay_ps=int(float(row["endpoint_delay_ns"]) * 1000),
        reduce_bytes_per_s=int(float(row["local_mem_bw_GBps"]) * 1e9 / 3),
    )
    op = row["op"].replace("_", "-")
    size = int(row["comm_size_bytes"]) * (ranks if op == "all-gather" else 1)
    name = IMPLEMENTATION.get(row["impl_per_dim"], row["impl_per_dim"])
    try:
        return price_collective(fabric, op, size, algorithm=name).time_ps / 1000
    except ChipsimError:
        return None


def main(path: str) -> None:
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    with Path(path).open(newline="") as stream:
        for row in csv.DictReader(stream):
            ours = our_time_ns(row)
            if ours is None:
                continue
            chunks = "1 chunk" if row["dataset_splits"] == "1" else "several chunks"
            key = (row["backend"], chunks, row["topology"], row["impl_per_dim"], row["op"])
            groups[key].append(ours / float(row["time_ns"]) - 1)
    print("backend,chunks,topology,algorithm,op,runs,mean_error,median_error,p90_error,max_error")
    for key, errors in sorted(groups.items()):
        sizes = sorted(abs(error) for error in errors)
        p90 = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
        figures = (sum(sizes) / len(sizes), sizes[len(sizes) // 2], p90, sizes[-1])
        print(",".join([*key, str(len(sizes)), *(f"{figure:.5f}" for figure in figures)]))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
