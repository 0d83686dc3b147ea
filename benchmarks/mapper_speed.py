"""Time that the mapper takes for a matmul: python benchmarks/mapper_speed.py [CHIP ...]

Shapes of dense language models (batches of 1 to 8,192 tokens through the matrices of Llama-3 8B and
70B and DeepSeek-V3, whole and cut over eight chips) and the lowered convolutions of ResNet-50. A
step prices each shape once and remembers it; these are the times of the first price.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from simulator.config.loader import load_any_model, load_chip
from simulator.kernels.chip_packing import pack_chip
from simulator.mapping import matmul, tiles
from simulator.model.convnet import ConvNet

TOKENS = (1, 8, 64, 256, 512, 2048, 8192)
MATRICES = (
    (4096, 6144),
    (4096, 4096),
    (4096, 28672),
    (14336, 4096),
    (8192, 10240),
    (8192, 57344),
    (28672, 8192),
    (8192, 1280),
    (1024, 8192),
    (8192, 7168),
    (3584, 8192),
    (4096, 128256),
    (2048, 1408),
    (7168, 18432),
)
BITS = (16, 16, 16, 16, 16)

Shape = tuple[int, int, int]


def shapes() -> dict[str, list[Shape]]:
    """The matmuls of each kind."""
    net = load_any_model("resnet-50")
    assert isinstance(net, ConvNet)
    images = {(b * x.rows, x.k, x.outputs) for b in (1, 8, 64) for x in net.convolutions}
    dense = [(m, k, n) for m in TOKENS for k, n in MATRICES]
    return {
        "decode (1 to 256 tokens)": [shape for shape in dense if shape[0] <= 256],
        "prefill (512 to 8192 tokens)": [shape for shape in dense if shape[0] > 256],
        "resnet-50 (1, 8, 64 images)": sorted(images),
    }


def micros(chip: str, shape: Shape) -> float:
    """The least time of several, of one search inside a kernel."""
    vector, each = pack_chip(load_chip(chip), "bf16"), 8
    out = np.empty(tiles.MAP_FIELDS, dtype=np.int64)
    found = []
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(each):
            matmul.search(vector, shape, BITS, 0, False, out)
        found.append((time.perf_counter() - start) / each)
    return min(found) * 1e6


def main() -> None:
    print("chip,shapes,number,mean_us,median_us,p90_us,largest_us")
    for chip in sys.argv[1:] or ("tpu-v6e", "tpu-v7x-die", "tpu-v5e"):
        for kind, members in shapes().items():
            times = sorted(micros(chip, shape) for shape in members)
            tenth = times[int(0.9 * len(times))]
            figures = (statistics.mean(times), statistics.median(times), tenth, times[-1])
            print(f"{chip},{kind},{len(times)}," + ",".join(f"{figure:.1f}" for figure in figures))


if __name__ == "__main__":
    main()
