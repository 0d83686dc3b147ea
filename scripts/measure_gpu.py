"""Measure a GPU for ``chipsim calibrate``: one file, PyTorch and nothing else.

    python measure_gpu.py -o mine.csv                       # everything, some 10 minutes
    python measure_gpu.py -o mine.csv --only matmul,copy --quick
    torchrun --nproc-per-node 8 measure_gpu.py -o mine.csv  # collectives as well
    chipsim calibrate h100 --measurements mine.csv -o my-h100.yaml

How: every operator is captured in a CUDA graph that holds several calls, so that the host's
launches are not in the way; the graph is replayed for warm-up until it has run for ``--warm-up``
seconds, then timed ``--repeats`` times with events, and the median counts. Each call inside a graph
takes the next of several copies of its buffers. With ``--l2 cold`` (the default) there are so many
copies that they exceed twice the L2 cache, so that nothing is found in it; with ``--l2 warm`` there
is one. The clock and the power are read from nvidia-smi before and after each row. ``sustained``
repeats large matmuls for seconds, so that the power limit sets the clock, and writes a row for each
half second.

Rows: operator,m,k,n,bytes,batch,heads,kv_heads,head_dim,context,op,ranks,dtype,measured_s, then how
the row was measured: l2, buffers, calls, repeats, p10_s, p90_s, clock_before_mhz, clock_after_mhz,
power_w, temperature_c, device, torch, cuda, driver. ``chipsim`` reads the first ones by name and
ignores the others. A row whose quantiles are more than 20 % apart is marked in ``note``.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

COLUMNS = (
    *("operator", "m", "k", "n", "bytes", "batch", "heads", "kv_heads", "head_dim", "context"),
    *("op", "ranks", "dtype", "measured_s", "l2", "buffers", "calls", "repeats", "p10_s", "p90_s"),
    *("clock_before_mhz", "clock_after_mhz", "power_w", "temperature_c"),
    *("device", "torch", "cuda", "driver", "note"),
)
GROUPS = ("matmul", "copy", "attention-decode", "attention-prefill", "collective", "sustained")
DTYPE_BYTES = {"bf16": 2, "fp8": 1, "int8": 1}
SMI = ("clocks.sm", "power.draw", "temperature.gpu", "driver_version")


def matmul_shapes(quick):
    """(m, k, n): rows of a batch or prompt against weights of language models."""
    rows = (
        (1, 16, 128, 1024, 8192)
        if quick
        else (
            *(1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 256, 384, 512, 768),
            *(1024, 1536, 2048, 4096, 8192, 16384),
        )
    )
    sides = (1024, 4096, 8192) if quick else (256, 512, 1024, 2048, 4096, 5120, 8192, 14336, 28672)
    return [(m, k, n) for m in rows for k in sides for n in sides]


def copy_sizes(quick):
    """Bytes of a buffer, 64 KiB to 1 GiB."""
    return [2**power for power in range(16, 31, 4 if quick else 1)]


def attention_shapes(decode, quick):
    """(batch, heads, KV heads, head dimension, context)."""
    heads = ((32, 8, 128),) if quick else ((32, 32, 128), (32, 8, 128), (64, 8, 128), (8, 1, 128))
    batches = (1, 32) if quick else ((1, 4, 16, 64, 256) if decode else (1, 2, 8, 32))
    contexts = (512, 4096) if quick else (128, 512, 1024, 2048, 4096, 8192, 16384, 32768)
    return [
        (batch, *shape, context)
        for shape in heads
        for batch in batches
        for context in contexts
        if batch * context <= (2**21 if decode else 2**17)
    ]


def collective_sizes(quick):
    """Bytes of the full buffer of one rank, 1 KiB to 512 MiB."""
    return [2**power for power in range(10, 30, 5 if quick else 1)]


def read_sensors(index):
    """Clock (MHz), power (W), temperature (C) and driver of a GPU; blanks without nvidia-smi."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ("", "", "", "")
    command = [
        tool,
        f"--query-gpu={','.join(SMI)}",
        "--format=csv,noheader,nounits",
        "-i",
        str(index),
    ]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ("", "", "", "")
    cells = [cell.strip() for cell in text.strip().split(",")]
    return tuple(cells) if len(cells) == len(SMI) else ("", "", "", "")


def quantile(values, share):
    """The value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bench:
    """One device: makes buffers, times calls, and keeps what every row has in common."""

    def __init__(self, torch, arguments):
        self.torch = torch
        self.arguments = arguments
        self.on_gpu = arguments.device == "cuda"
        self.rank = int(os.environ.get("RANK", "0"))
        self.index = int(os.environ.get("LOCAL_RANK", "0"))
        if self.on_gpu:
            torch.cuda.set_device(self.index)
            properties = torch.cuda.get_device_properties(self.index)
            self.l2_bytes = getattr(properties, "L2_cache_size", 0) or 64 * 2**20
            self.memory_bytes = properties.total_memory
            self.name = properties.name
        else:
            self.l2_bytes = 2**20
            self.memory_bytes = 2**31
            self.name = "cpu"
        self.device = torch.device(arguments.device, self.index) if self.on_gpu else "cpu"
        self.flush_s = time.perf_counter()

    def dtype(self, name):
        """PyTorch's data type of a name."""
        names = {"bf16": "bfloat16", "fp8": "float8_e4m3fn", "int8": "int8"}
        return getattr(self.torch, names[name])

    def random(self, shape, dtype="bf16"):
        """Normal random data: the clock under a power limit depends on the bits that flip."""
        torch = self.torch
        if dtype == "int8":
            return torch.randint(-127, 127, shape, dtype=torch.int8, device=self.device)
        data = torch.randn(shape, dtype=torch.bfloat16, device=self.device)
        return data.to(self.dtype(dtype))

    def copies(self, size):
        """How many copies of ``size`` bytes keep L2 cold, as far as memory reaches."""
        if self.arguments.l2 == "warm":
            return 1
        wanted = max(2, -(-2 * self.l2_bytes // max(1, size)))
        return int(max(1, min(wanted, 256, 0.3 * self.memory_bytes // max(1, size))))

    def synchronize(self):
        """Wait for the device."""
        if self.on_gpu:
            self.torch.cuda.synchronize()

    def capture(self, calls):
        """A function that runs all ``calls`` once: one graph on a GPU."""
        if not self.on_gpu or not self.arguments.graph:
            return lambda: [call() for call in calls]
        torch = self.torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for call in calls[:2]:
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in calls:
                call()
        return graph.replay

    def seconds(self, replay):
        """Seconds of one replay, by events on the device."""
        if not self.on_gpu:
            start = time.perf_counter()
            replay()
            return time.perf_counter() - start
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3

    def measure(self, calls):
        """Times of one call (median, 10th, 90th percentile) and how they came about.

        ``calls`` are the calls that go round the buffers; they are repeated until a graph is some
        200 us long, so that its own start does not count.
        """
        replay = self.capture(calls)
        replay()
        self.synchronize()
        once = max(1e-7, self.seconds(replay))
        rounds = max(1, min(64, int(2e-4 / once))) if len(calls) < 256 else 1
        if rounds > 1:
            replay = self.capture(calls * rounds)
        count = len(calls) * rounds
        before = read_sensors(self.index) if self.on_gpu else ("", "", "", "")
        stop = time.perf_counter() + self.arguments.warm_up
        replay()
        while time.perf_counter() < stop:
            replay()
            self.synchronize()
        times = [self.seconds(replay) / count for _ in range(self.arguments.repeats)]
        after = read_sensors(self.index) if self.on_gpu else ("", "", "", "")
        low, high = quantile(times, 0.1), quantile(times, 0.9)
        return {
            "measured_s": f"{statistics.median(times):.6e}",
            "p10_s": f"{low:.6e}",
            "p90_s": f"{high:.6e}",
            "l2": self.arguments.l2,
            "calls": count,
            "repeats": len(times),
            "clock_before_mhz": before[0],
            "clock_after_mhz": after[0],
            "power_w": after[1],
            "temperature_c": after[2],
            "driver": after[3],
            "note": "unsteady" if high > 1.2 * low else "",
        }


def matmul_call(bench, left, right, out, dtype):
    """A call of C = A B; fp8 with the scales that PyTorch wants."""
    torch = bench.torch
    if dtype == "fp8":
        one = torch.ones((), device=bench.device)
        return lambda: torch._scaled_mm(
            left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16
        )
    if dtype == "int8":
        return lambda: torch._int_mm(left, right)
    return lambda: torch.matmul(left, right, out=out)


def matmuls(bench):
    """Rows of matmuls: activations stay, weights go round."""
    for dtype in bench.arguments.dtypes:
        for m, k, n in matmul_shapes(bench.arguments.quick):
            size = k * n * DTYPE_BYTES[dtype]
            if dtype != "bf16" and (m % 16 or k % 16 or n % 16):
                continue
            if 3 * (size + 2 * m * (k + n)) > bench.memory_bytes:
                continue
            buffers = bench.copies(size)
            left = bench.random((m, k), dtype)
            out = bench.random((m, n)) if dtype == "bf16" else None
            # weights as a linear layer has them: [n, k], transposed
            rights = [bench.random((n, k), dtype).t() for _ in range(buffers)]
            calls = [matmul_call(bench, left, right, out, dtype) for right in rights]
            yield {
                "operator": "matmul",
                **{"m": m, "k": k, "n": n, "dtype": dtype, "buffers": buffers},
                **bench.measure(calls),
            }


def copies(bench):
    """Rows of copies from memory to memory."""
    for size in copy_sizes(bench.arguments.quick):
        if 4 * size > bench.memory_bytes:
            continue
        buffers = bench.copies(2 * size)
        pairs = [[bench.random((size // 2,)) for _ in range(2)] for _ in range(max(1, buffers))]
        calls = [lambda pair=pair: pair[1].copy_(pair[0]) for pair in pairs]
        row = {"operator": "copy", "bytes": size, "dtype": "bf16", "buffers": buffers}
        yield {**row, **bench.measure(calls)}


def attention(bench, decode):
    """Rows of scaled-dot-product attention: one query a sequence, or a causal prompt."""
    functional = bench.torch.nn.functional
    for batch, heads, kv_heads, dim, context in attention_shapes(decode, bench.arguments.quick):
        cache = 2 * batch * kv_heads * context * dim * 2
        if 4 * cache * heads // kv_heads > bench.memory_bytes:
            continue
        queries = 1 if decode else context
        buffers = bench.copies(cache)
        query = bench.random((batch, heads, queries, dim))
        pairs = [
            [bench.random((batch, kv_heads, context, dim)) for _ in range(2)]
            for _ in range(buffers)
        ]
        options = {"is_causal": not decode}
        if heads != kv_heads:
            options["enable_gqa"] = True
        attend = functional.scaled_dot_product_attention
        calls = [partial(attend, query, *pair, **options) for pair in pairs]
        yield {
            "operator": "attention-decode" if decode else "attention-prefill",
            **{"batch": batch, "heads": heads, "kv_heads": kv_heads, "head_dim": dim},
            **{"context": context, "dtype": "bf16", "buffers": buffers},
            **bench.measure(calls),
        }


def collectives(bench):
    """Rows of NCCL's collectives among the ranks of torchrun; the slowest rank counts."""
    torch = bench.torch
    import torch.distributed as dist

    if "WORLD_SIZE" not in os.environ:
        print("collectives: skipped, start with torchrun", file=sys.stderr)
        return
    if not dist.is_initialized():
        dist.init_process_group("nccl" if bench.on_gpu else "gloo")
    ranks = dist.get_world_size()
    graph, bench.arguments.graph = bench.arguments.graph, False
    for size in collective_sizes(bench.arguments.quick):
        elements = max(ranks, size // 2 // ranks * ranks)
        whole = bench.random((elements,))
        part = bench.random((elements // ranks,))
        out = torch.empty_like(whole)
        calls = {
            "all-reduce": partial(dist.all_reduce, whole),
            "all-gather": partial(dist.all_gather_into_tensor, out, part),
            "reduce-scatter": partial(dist.reduce_scatter_tensor, part, whole),
            "all-to-all": partial(dist.all_to_all_single, out, whole),
        }
        for op, call in calls.items():
            whole.fill_(1)
            row = {"operator": "collective", "op": op, "bytes": 2 * elements, "ranks": ranks}
            dist.barrier()
            found = collective_times(bench, dist, call)
            yield {**row, "dtype": "bf16", "buffers": 1, **found}
    bench.arguments.graph = graph


def collective_times(bench, dist, call):
    """Times of a collective: a fixed number of calls, so that all ranks make as many."""
    torch = bench.torch
    for _ in range(5):
        call()
    bench.synchronize()
    times = []
    for _ in range(bench.arguments.repeats):
        dist.barrier()
        times.append(bench.seconds(lambda: [call() for _ in range(10)]) / 10)
    slowest = torch.tensor(times, device=bench.device, dtype=torch.float64)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    ordered = sorted(slowest.tolist())
    return {
        "measured_s": f"{statistics.median(ordered):.6e}",
        "p10_s": f"{quantile(ordered, 0.1):.6e}",
        "p90_s": f"{quantile(ordered, 0.9):.6e}",
        "l2": "warm",
        "calls": 10,
        "repeats": len(ordered),
    }


def sustained(bench):
    """Large matmuls for seconds: a row each half second, with the clock that the power limit left.

    Rows are of operator ``matmul-sustained``, which ``calibrate`` does not read on its own: they
    show how the clock falls with the duration.
    """
    for dtype in bench.arguments.dtypes:
        for side in (4096,) if bench.arguments.quick else (4096, 8192, 16384):
            left = bench.random((side, side), dtype)
            right = bench.random((side, side), dtype).t()
            out = bench.random((side, side)) if dtype == "bf16" else None
            call = matmul_call(bench, left, right, out, dtype)
            replay = bench.capture([call] * 8)
            started = time.perf_counter()
            while time.perf_counter() - started < bench.arguments.sustain:
                times = []
                mark = time.perf_counter()
                while time.perf_counter() - mark < 0.5:
                    times.append(bench.seconds(replay) / 8)
                after = read_sensors(bench.index) if bench.on_gpu else ("", "", "", "")
                yield {
                    "operator": "matmul-sustained",
                    **{"m": side, "k": side, "n": side, "dtype": dtype, "buffers": 1},
                    "measured_s": f"{statistics.median(times):.6e}",
                    "l2": "warm",
                    "calls": 8,
                    "repeats": len(times),
                    "clock_after_mhz": after[0],
                    "power_w": after[1],
                    "temperature_c": after[2],
                    "driver": after[3],
                    "note": f"after {time.perf_counter() - started:.1f} s",
                }


def measurements(bench):
    """All rows that were asked for."""
    work = {
        "matmul": lambda: matmuls(bench),
        "copy": lambda: copies(bench),
        "attention-decode": lambda: attention(bench, True),
        "attention-prefill": lambda: attention(bench, False),
        "collective": lambda: collectives(bench),
        "sustained": lambda: sustained(bench),
    }
    for group in bench.arguments.only:
        yield from work[group]()


def names(allowed):
    """A parser of comma-separated names."""

    def parse(text):
        found = [name.strip() for name in text.split(",") if name.strip()]
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(allowed)}")
        return found

    return parse


def parse_arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Measure a GPU for chipsim calibrate.", epilog="See the head of this file."
    )
    parser.add_argument("-o", "--output", required=True, help="CSV file to write")
    parser.add_argument("--only", type=names(GROUPS), default=list(GROUPS), help=",".join(GROUPS))
    parser.add_argument(
        "--dtypes", type=names(DTYPE_BYTES), default=["bf16"], help="bf16,fp8,int8 of matmuls"
    )
    parser.add_argument("--l2", choices=("cold", "warm"), default="cold")
    parser.add_argument("--quick", action="store_true", help="few shapes, to see that it works")
    parser.add_argument("--repeats", type=int, default=25, help="timed replays of a row")
    parser.add_argument("--warm-up", type=float, default=0.05, help="seconds before each row")
    parser.add_argument("--sustain", type=float, default=20.0, help="seconds of a sustained run")
    parser.add_argument("--no-graph", dest="graph", action="store_false", help="no CUDA graphs")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tries the script out"
    )
    arguments = parser.parse_args(words)
    if arguments.repeats < 1 or arguments.warm_up < 0 or arguments.sustain <= 0:
        parser.error("--repeats, --warm-up and --sustain must be positive")
    return arguments


def main(words=None):
    """Measure and write; rows appear in the file as they are measured."""
    arguments = parse_arguments(words)
    try:
        import torch
    except ImportError:
        print("error: this script needs PyTorch: pip install torch", file=sys.stderr)
        return 3
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(
            "error: PyTorch finds no CUDA device (--device cpu tries the script)", file=sys.stderr
        )
        return 3
    bench = Bench(torch, arguments)
    common = {"device": bench.name, "torch": torch.__version__, "cuda": torch.version.cuda or ""}
    part = Path(f"{arguments.output}.part" if bench.rank == 0 else os.devnull)
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        count = 0
        for row in measurements(bench):
            writer.writerow({**common, **row})
            stream.flush()
            count += 1
            if bench.rank == 0 and count % 25 == 0:
                print(f"{count} rows, last: {row['operator']}", file=sys.stderr)
    if bench.rank == 0:
        part.replace(arguments.output)
        print(f"{count} rows in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
