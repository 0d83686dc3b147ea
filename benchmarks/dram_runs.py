"""Writes into each DRAM preset what the bank-level model achieves by length of access.

    python benchmarks/dram_runs.py configs/memories/hbm3-6400.yaml ...

A chip that names the preset is priced with these figures; a test simulates them again.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from simulator.hardware import RUN_CLASSES, SHORTEST_RUN_BYTES
from simulator.timing.hbm import simulate_run_efficiency


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        text = re.sub(r"\n# achieved share.*", "\n", path.read_text(), flags=re.DOTALL)
        longest = SHORTEST_RUN_BYTES << (RUN_CLASSES - 2)
        shares = "\n".join(f"  - {share!r}" for share in simulate_run_efficiency(path.stem))
        path.write_text(
            f"{text.rstrip()}\n"
            f"# achieved share of the peak for contiguous runs of {SHORTEST_RUN_BYTES}, "
            f"{2 * SHORTEST_RUN_BYTES}, ... {longest} bytes and for a stream,\n"
            f"# simulated by benchmarks/dram_runs.py; a test does it again\n"
            f"run_efficiency:\n{shares}\n"
        )
        print(f"{path.name}: {len(shares.splitlines())} lengths")


if __name__ == "__main__":
    main()
