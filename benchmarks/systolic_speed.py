"""Speed of ``chipsim systolic`` as a ratio to SCALE-Sim, both measured in one run.

SCALE-Sim (PyPI ``scalesim`` 3.0.0) needs a virtual environment of its own with numpy 1.26.4:

    python -m venv scalesim-env
    scalesim-env/bin/pip install numpy==1.26.4 scalesim==3.0.0
    python benchmarks/systolic_speed.py --scalesim-python scalesim-env/bin/python [--large]

CPU seconds of whole SCALE-Sim processes less that of an empty one (imports); ours are those of the
call, after a first one that compiles or loads the kernels. ``--large`` adds 1 x 4096 x 4096 on
128 x 128, which takes SCALE-Sim minutes and 3.5 GB. Without --scalesim-python only ours are timed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from simulator.config.loader import load_any_model
from simulator.model.convnet import ConvNet
from simulator.report.systolic_trace import write_trace
from simulator.timing.systolic import (
    SystolicCase,
    check_case,
    pipeline_counts,
    systolic_timing,
)

# matmuls of AlexNet's layers (Krizhevsky et al., 2012; one group), M x K x N
TRACED = {
    "alexnet conv3": (169, 2304, 384),
    "alexnet conv5": (169, 1728, 256),
}
ARRAYS = ((4, 4), (8, 8), (16, 16), (32, 32), (128, 128), (256, 256), (1024, 1024), (16, 512))
LLAMA_70B = ((1, 8192, 10240), (1, 8192, 8192), (1, 8192, 57344), (1, 28672, 8192))
LLAMA = {
    "llama2-7b qkv": (1, 4096, 12288),
    "llama2-7b out": (1, 4096, 4096),
    "llama2-7b gate, up": (1, 4096, 22016),
    "llama2-7b down": (1, 11008, 4096),
}
MODES = (("ws", "single"), ("os", "single"), ("is", "single"), ("ws", "double"), ("is", "double"))


def finite(sram: int, words: str) -> dict[str, Any]:
    """Three buffers of a size, and a bandwidth."""
    return {
        "sram_ifmap_bytes": sram,
        "sram_filter_bytes": sram,
        "sram_ofmap_bytes": sram,
        "bandwidth": Fraction(words),
    }


MEMORIES: dict[str, dict[str, Any]] = {
    "ideal memory": {},
    "8 MiB, 64 words/cycle": finite(2**23, "64"),
    "64 KiB, 10 words/cycle": finite(2**16, "10"),
    "256 KiB, 3.7 words/cycle": finite(2**18, "3.7"),
    "64 KiB, 3.7 words/cycle": finite(2**16, "3.7"),
    "16 KiB, 1.01 words/cycle": finite(2**14, "1.01"),
}
CONFIG = """[general]
run_name = bench
[architecture_presets]
ArrayHeight : {rows}
ArrayWidth : {cols}
IfmapSramSzkB : 1024
FilterSramSzkB : 1024
OfmapSramSzkB : 1024
IfmapOffset : 0
FilterOffset : 10000000
OfmapOffset : 20000000
Dataflow : {dataflow}
Bandwidth : 100
ReadRequestBuffer : 64
WriteRequestBuffer : 64
[layout]
IfmapCustomLayout : False
IfmapSRAMBankBandwidth : 10
IfmapSRAMBankNum : 10
IfmapSRAMBankPort : 2
FilterCustomLayout : False
FilterSRAMBankBandwidth : 10
FilterSRAMBankNum : 10
FilterSRAMBankPort : 2
[sparsity]
SparsitySupport : false
SparseRep : ellpack_block
OptimizedMapping : false
BlockSize : 8
RandomNumberGeneratorSeed : 40
[run_presets]
InterfaceBandwidth : CALC
UseRamulatorTrace : False
"""


def cpu_of(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a process."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command} failed:\n{(folder / 'log').read_text()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def scalesim(python: str, case: SystolicCase) -> tuple[float, float]:
    """CPU seconds beyond its imports, and peak megabytes, of SCALE-Sim with its traces."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scale.cfg").write_text(
            CONFIG.format(rows=case.rows, cols=case.cols, dataflow=case.dataflow)
        )
        (folder / "gemm.csv").write_text(f"Layer,M,N,K,\ngemm,{case.m},{case.n},{case.k},\n")
        (folder / "layout.csv").write_text("Layer\ngemm,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,\n")
        empty, _ = cpu_of([python, "-c", "import scalesim.scale_sim"], folder)
        command = [python, "-m", "scalesim.scale", "-c", "scale.cfg", "-t", "gemm.csv"]
        command += ["-l", "layout.csv", "-p", "out", "-i", "gemm"]
        cpu, peak = cpu_of(command, folder)
    return cpu - empty, peak


def ours(work: Callable[[], object], repeat: int) -> float:
    """CPU seconds of one call, after a first one."""
    work()
    start = time.process_time()
    for _ in range(repeat):
        work()
    return (time.process_time() - start) / repeat


def report(name: str, mine: float, theirs: tuple[float, float] | None) -> None:
    line = f"{name:<72} {mine * 1e6:>12.1f} us"
    if theirs is not None:
        line += f"   SCALE-Sim {theirs[0]:>8.2f} s {theirs[1]:>7.0f} MB"
        line += f"   ratio {theirs[0] / mine:>12,.0f}"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scalesim-python", help="python of an environment with scalesim 3.0.0")
    parser.add_argument("--large", action="store_true", help="also 1 x 4096 x 4096 by SCALE-Sim")
    options = parser.parse_args()
    peer = options.scalesim_python

    print("with traces written (128 x 128, ws)")
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in TRACED.items():
            case = SystolicCase(*shape, 128, 128, "ws")
            for ending in ("npz", "csv"):
                target = f"{folder}/trace.{ending}"
                mine = ours(lambda case=case, to=target: write_trace(case, to), 3)
                theirs = scalesim(peer, case) if peer and ending == "npz" else None
                report(f"  {name}, .{ending}", mine, theirs)

    print("cycles")
    case = SystolicCase(1, 4096, 4096, 128, 128, "ws")
    mine = ours(lambda: systolic_timing(case), 1000)
    theirs = scalesim(peer, case) if peer and options.large else None
    report("  1 x 4096 x 4096", mine, theirs)
    with tempfile.TemporaryDirectory() as folder:
        mine = ours(lambda: write_trace(case, f"{folder}/trace.npz"), 3)
        report("  the same with traces written", mine, theirs)
    layers = [SystolicCase(*shape, 128, 128, "ws") for shape in LLAMA.values()]
    report("  a Llama-2-7B layer", ours(lambda: [systolic_timing(c) for c in layers], 100), None)
    print("whole networks, each layer that has another shape priced anew; the slowest of all modes")
    net = load_any_model("resnet-50")
    assert isinstance(net, ConvNet)
    networks = {
        "ResNet-50, an image": [(x.rows, x.k, x.outputs) for x in net.convolutions],
        "a Llama-2-7B layer, a token": list(LLAMA.values()),
        "a Llama-2-7B layer, 2048 tokens": [(2048, k, n) for _, k, n in LLAMA.values()],
        "a Llama-3-70B layer, 8192 tokens": [(8192, k, n) for _, k, n in LLAMA_70B],
    }
    for name, shapes in networks.items():
        for what, memory in MEMORIES.items():
            if memory and "tokens" in name:
                continue
            for rows, cols in ARRAYS:
                took = slowest(shapes, rows, cols, memory)
                report(f"  {name}, {what}, {rows}x{cols}", took, None)
    print(f"peak memory of this process {peak_mb():.0f} MB")


def slowest(
    shapes: list[tuple[int, int, int]], rows: int, cols: int, memory: dict[str, Any]
) -> float:
    """CPU seconds of a network, the least of five, in the mode that takes longest.

    0 where a tile does not fit.
    """
    longest = 0.0
    for flow, load in MODES:
        cases = [SystolicCase(*shape, rows, cols, flow, load, **memory) for shape in shapes]
        if any(check_case(case) is not None for case in cases):
            continue

        def price(cases: list[SystolicCase] = cases) -> None:
            pipeline_counts.cache_clear()
            for case in cases:
                systolic_timing(case)

        longest = max(longest, min(ours(price, 1) for _ in range(5)))
    return longest


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
