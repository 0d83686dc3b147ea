"""A kernel that was compiled by one process runs in the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# the second allocates by a part of numba's allocator that numba itself compiles
KERNELS = {
    "small": """
from simulator.timing.decode_prices import fill_works as kernel
none = np.zeros(0, dtype=np.int64)
packed = (np.zeros(64, dtype=np.int64), none, np.zeros((0, 64), dtype=np.int64),
          none.astype(np.bool_), np.zeros((0, 0), dtype=np.int64),
          np.zeros((0, 0), dtype=np.int64), none)
answer = kernel(packed, none, none)
""",
    "allocating": """
from simulator.kernels.layered_flows import FLOW_FIELDS, forward as kernel
some, none = np.zeros(1), np.zeros(0, dtype=np.int64)
flows = np.zeros((0, FLOW_FIELDS), dtype=np.int64)
answer = kernel(flows, some[:0], some[:0], np.zeros(1, dtype=np.int64), none, some[:0], some, 0, 7)
""",
}
REST = """
print(answer, sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_read_back(name, tmp_path):
    said = [
        subprocess.run(
            [sys.executable, "-c", f"import numpy as np\n{KERNELS[name]}{REST}"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    (first, *compiled), (second, *read) = said
    assert first == second
    assert (compiled, read) == (["0", "1"], ["1", "0"])
