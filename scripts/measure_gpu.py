"""Measure a GPU for ``chipsim calibrate``: one file, PyTorch (2.3 or newer) and nothing else.

    python measure_gpu.py -o mine.csv                       # everything, some 10 minutes
    python measure_gpu.py -o mine.csv --only matmul,copy --quick
    torchrun --nproc-per-node 8 measure_gpu.py -o mine.csv  # collectives as well
    chipsim calibrate h100 --measurements mine.csv -o my-h100.yaml

How: the calls of an operator are captured in a CUDA graph at least 200 us long, so that the host's
launches are not in the way; the graph is replayed for ``--warm-up`` seconds, then ``--repeats``
times (less often, but 5 times at least, where that would take more than a second) with an event
between, all queued behind one replay more, so that the device never waits for the host. The median
counts. The warm-up is short on purpose: with it and the replays a short operator is over before a
power limit answers, some 40 ms, as in the tables that chipsim's chips are fitted to.

Each call inside a graph takes the next of several copies of its buffers (weights, keys and values,
both ends of a copy). With ``--l2 cold`` (the default) they are together twice as large as the L2
cache, so that nothing is found in it; with ``--l2 warm`` there is one. Copies are always cold:
chipsim prices them from memory to memory. ``sustained`` repeats large matmuls for seconds, so that
the power limit sets the clock, and writes a row for each half second.

Rows: operator,m,k,n,bytes,batch,heads,kv_heads,head_dim,context,op,ranks,dtype,measured_s,buffers,
then how the row was measured: l2, calls, repeats, p10_s, p90_s; clock_before_mhz before the timed
replays; clock_after_mhz, power_w, temperature_c and limited_by (power, heat) while they ran, from
NVIDIA's management library; device, torch, cuda, driver. ``chipsim`` reads the first ones by name
and ignores the others. A row whose quantiles are more than 20 % apart is marked in ``note``. What
cannot run (no memory, no such data type) is left out and counted. Exit codes: 0, 1 nothing could be
measured or the device failed, 2 command line, 3 no PyTorch, GPU or file, 130 interrupted.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import os
import statistics
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

COLUMNS = (
    *("operator", "m", "k", "n", "bytes", "batch", "heads", "kv_heads", "head_dim", "context"),
    *("op", "ranks", "dtype", "measured_s", "buffers", "l2", "calls", "repeats", "p10_s", "p90_s"),
    *("clock_before_mhz", "clock_after_mhz", "power_w", "temperature_c", "limited_by"),
    *("device", "torch", "cuda", "driver", "note"),
)
GROUPS = ("matmul", "copy", "attention-decode", "attention-prefill", "collective", "sustained")
DTYPE_BYTES = {"bf16": 2, "fp8": 1, "int8": 1}
GRAPH_S = 2e-4
"""Least length of a graph: its own start is a few microseconds."""
LONGEST_S = 1.0
"""Of the timed replays of a row, unless 5 take longer."""
MOST_COPIES = 4096
"""Calls in a graph: so many 64 KiB are twice the largest L2 of today."""
UNKNOWN_L2 = 128 * 2**20
"""PyTorch before 2.5 does not tell the size of L2; no NVIDIA GPU of its time has more."""
LAST_LEVEL_OF_AMD = 256 * 2**20
"""PyTorch tells the L2 of one die of an MI300; behind it lies a cache for all of them."""
LEAD_BYTES = 2**28
"""16 copies of so many take milliseconds, in which the host queues a few collectives."""
LIMITS = {0x04: "power", 0x80: "power", 0x20: "heat", 0x40: "heat"}
"""Bits of NVML's reasons for a lower clock."""


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


class Sensors:
    """Clock, power, temperature of a GPU from NVIDIA's management library; blanks without it.

    The library comes with the driver. It is called through ctypes, since nothing but PyTorch shall
    be installed, and takes microseconds, so that it can be read while the device works.
    """

    LIBRARY = "nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1"

    def __init__(self, uuid, index):
        self.library = None
        self.handle = ctypes.c_void_p()
        self.driver = ""
        try:
            library = ctypes.CDLL(self.LIBRARY)
        except OSError:
            return
        if library.nvmlInit_v2() != 0:
            return
        place = ctypes.byref(self.handle)
        if uuid:  # the order of devices there is another, and CUDA_VISIBLE_DEVICES not heeded
            status = library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode(), place)
        else:
            status = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), place)
        if status == 0:
            self.library = library
            text = ctypes.create_string_buffer(96)
            if library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(96)) == 0:
                self.driver = text.value.decode()

    def read(self):
        """(clock in MHz, power in W, temperature in C, what limits the clock); blanks as ''."""
        if self.library is None:
            return ("", "", "", "")
        clock = self.number("nvmlDeviceGetClockInfo", 1)  # of the SMs
        milliwatts = self.number("nvmlDeviceGetPowerUsage")
        heat = self.number("nvmlDeviceGetTemperature", 0)  # of the GPU
        reasons = self.number("nvmlDeviceGetCurrentClocksThrottleReasons", kind=ctypes.c_ulonglong)
        limits = {name for bit, name in LIMITS.items() if reasons and bit & reasons}
        power = "" if milliwatts == "" else f"{milliwatts / 1000:.1f}"
        return (clock, power, heat, " ".join(sorted(limits)))

    def number(self, function, *selector, kind=ctypes.c_uint):
        """What a function of the library writes; '' where the device does not have it."""
        value = kind()
        call = getattr(self.library, function, None)
        chosen = (ctypes.c_uint(one) for one in selector)
        if call is None or call(self.handle, *chosen, ctypes.byref(value)) != 0:
            return ""
        return value.value


def quantile(values, share):
    """The value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class DeviceError(Exception):
    """The device answers no more, so no further row can be measured."""


class Bench:
    """One device: makes buffers, times calls, and counts what could not run."""

    def __init__(self, torch, arguments):
        self.torch = torch
        self.arguments = arguments
        self.on_gpu = arguments.device == "cuda"
        self.rank = int(os.environ.get("RANK", "0"))
        self.ranks = int(os.environ.get("WORLD_SIZE", "1"))
        self.index = int(os.environ.get("LOCAL_RANK", "0"))
        self.left_out = Counter()
        uuid = ""
        if self.on_gpu:
            torch.cuda.set_device(self.index)
            properties = torch.cuda.get_device_properties(self.index)
            uuid = str(getattr(properties, "uuid", ""))
            self.l2_bytes = getattr(properties, "L2_cache_size", 0) or UNKNOWN_L2
            if torch.version.hip:
                self.l2_bytes = max(self.l2_bytes, LAST_LEVEL_OF_AMD)
            self.memory_bytes = torch.cuda.mem_get_info(self.index)[0]  # what is free of it
            self.name = properties.name
            self.stream = torch.cuda.Stream()
            self.device = torch.device("cuda", self.index)
        else:
            self.l2_bytes = 2**20
            self.memory_bytes = 2**31
            self.name = "cpu"
            self.device = torch.device("cpu")
        self.sensors = Sensors(uuid, self.index)

    def dtype(self, name):
        """PyTorch's data type of a name."""
        names = {"bf16": "bfloat16", "fp8": "float8_e4m3fn", "int8": "int8"}
        return getattr(self.torch, names[name])

    def random(self, shape, dtype="bf16"):
        """Normal random data: the clock under a power limit depends on the bits that flip."""
        torch = self.torch
        if dtype == "int8":
            return torch.randint(-127, 127, shape, dtype=torch.int8, device=self.device)
        if dtype == "bf16":
            return torch.randn(shape, dtype=torch.bfloat16, device=self.device)
        data = torch.empty(shape, dtype=self.dtype(dtype), device=self.device)
        for part in data.view(-1).split(2**26):  # there are no random numbers of 8 bits
            part.copy_(torch.randn(part.shape, dtype=torch.bfloat16, device=self.device))
        return data

    def copies(self, size):
        """How many buffers of ``size`` bytes keep L2 cold, as far as memory reaches; 1 if warm."""
        if self.arguments.l2 == "warm":
            return 1
        return self.cold_copies(size)

    def cold_copies(self, size):
        """The same whatever ``--l2`` says."""
        wanted = max(2, -(-2 * self.l2_bytes // size))
        return int(max(1, min(wanted, MOST_COPIES, 0.3 * self.memory_bytes // size)))

    def l2_state(self, size, buffers):
        """What L2 holds of ``buffers`` buffers of ``size`` bytes that were used in turn."""
        if buffers * size >= 2 * self.l2_bytes:
            return "cold"
        return "warm" if buffers == 1 else "mixed"

    def synchronize(self):
        """Wait for the device."""
        if self.on_gpu:
            self.torch.cuda.synchronize()

    def capture(self, calls):
        """A function that runs all ``calls`` once: one graph on a GPU."""

        def one_by_one():
            for call in calls:
                call()

        if not self.on_gpu or not self.arguments.graph:
            return one_by_one
        torch = self.torch
        # libraries keep handles and workspaces by stream: what they make must be there before
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for call in calls[:2]:
                call()
        torch.cuda.current_stream().wait_stream(self.stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            one_by_one()
        return graph.replay

    def timed(self, replay, repeats, lead=None):
        """Seconds of each of so many replays, and the sensors while they run.

        ``lead`` (one replay more unless given) runs untimed before them.
        """
        if not self.on_gpu:
            marks = [time.perf_counter()]
            for _ in range(repeats):
                replay()
                marks.append(time.perf_counter())
            return [after - marks[i] for i, after in enumerate(marks[1:])], ("", "", "", "")
        events = [self.torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        (lead or replay)()  # the device has work while the host queues what is timed
        events[0].record()
        for event in events[1:]:
            replay()
            event.record()
        sensors = self.sensors.read()
        events[-1].synchronize()
        times = [events[i].elapsed_time(after) for i, after in enumerate(events[1:])]
        return [milliseconds * 1e-3 for milliseconds in times], sensors

    def measure(self, calls):
        """Times of one call (median, 10th, 90th percentile) and how they came about.

        ``calls`` go round the buffers; they are repeated until a graph is ``GRAPH_S`` long.
        """
        replay = self.capture(calls)
        self.timed(replay, 1)
        once = max(1e-7, min(self.timed(replay, 2)[0]))
        rounds = max(1, min(MOST_COPIES // len(calls), int(-(-GRAPH_S // once))))
        if rounds > 1:
            replay = self.capture(calls * rounds)
        stop = time.perf_counter() + self.arguments.warm_up
        while time.perf_counter() < stop:
            replay()
            self.synchronize()
        before = self.sensors.read()
        fitting = max(5, int(LONGEST_S / (once * rounds)))
        times, after = self.timed(replay, min(self.arguments.repeats, fitting))
        count = len(calls) * rounds
        return self.figures([seconds / count for seconds in times], count, before, after)

    def figures(self, times, calls, before, after):
        """The columns of a row that say how long it took and how it was measured."""
        low, high = quantile(times, 0.1), quantile(times, 0.9)
        return {
            "measured_s": f"{statistics.median(times):.6e}",
            "p10_s": f"{low:.6e}",
            "p90_s": f"{high:.6e}",
            "calls": calls,
            "repeats": len(times),
            "clock_before_mhz": before[0],
            "clock_after_mhz": after[0],
            "power_w": after[1],
            "temperature_c": after[2],
            "limited_by": after[3],
            "note": "unsteady" if high > 1.2 * low else "",
        }

    def row(self, row, make_calls):
        """``row`` with its figures, as a list; an empty one where it cannot run.

        ``make_calls`` makes the buffers, which are gone when it returns.

        Raises:
            DeviceError: after the fault nothing else will run.
        """
        try:
            return [{**row, **self.measure(make_calls())}]
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            self.skip(row, error)
        if self.on_gpu:
            try:
                self.torch.cuda.synchronize()
                self.torch.cuda.empty_cache()
            except RuntimeError as error:
                raise DeviceError(first_line(error)) from None
        return []

    def skip(self, row, error, rows=1):
        """Count rows that could not run, by their kind and reason."""
        reason = "out of memory" if "out of memory" in str(error) else first_line(error)
        kind = " ".join(str(row.get(name, "")) for name in ("operator", "op", "dtype")).split()
        self.left_out[(" ".join(kind), reason)] += rows


def first_line(error):
    """What an exception says, at most 200 characters of its first line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def matmul_call(bench, left, right, out, dtype):
    """A call of C = A B; ``right`` is column-major, which the kernels of 8 bits ask for.

    fp8 has one scale, a float32 on the device, for each operand, and the fast accumulation of
    inference; the result is bf16. int8 gives int32.
    """
    torch = bench.torch
    if dtype == "fp8":
        one = torch.ones((), dtype=torch.float32, device=bench.device)
        options = {"scale_a": one, "scale_b": one, "out_dtype": torch.bfloat16}
        return partial(torch._scaled_mm, left, right, use_fast_accum=True, **options)
    if dtype == "int8":
        return partial(torch._int_mm, left, right)
    return partial(torch.matmul, left, right, out=out)


def matmul_calls(bench, shape, dtype, buffers):
    """Calls of one matmul: activations stay, weights go round."""
    m, k, n = shape
    left = bench.random((m, k), dtype)
    out = None
    if dtype == "bf16":
        out = bench.torch.empty((m, n), dtype=bench.torch.bfloat16, device=bench.device)
    # weights as a linear layer has them: [n, k], transposed
    weights = bench.random((buffers, n, k), dtype)
    return [matmul_call(bench, left, right.t(), out, dtype) for right in weights]


def supported(bench, operator, dtype, rows):
    """Whether a small matmul of a data type runs; if not, ``rows`` of an operator are left out."""
    try:
        matmul_calls(bench, (32, 64, 64), dtype, 1)[0]()
        bench.synchronize()
    except (RuntimeError, TypeError, AttributeError) as error:
        bench.skip({"operator": operator, "dtype": dtype}, error, rows)
        return False
    return True


def matmuls(bench):
    """Rows of matmuls."""
    shapes = matmul_shapes(bench.arguments.quick)
    for dtype in bench.arguments.dtypes:
        if not supported(bench, "matmul", dtype, len(shapes)):
            continue
        for m, k, n in shapes:
            size = k * n * DTYPE_BYTES[dtype]
            if dtype == "int8" and m <= 16:  # torch._int_mm takes more rows only
                continue
            buffers = bench.copies(size)
            row = {"operator": "matmul", "m": m, "k": k, "n": n, "dtype": dtype}
            row |= {"buffers": buffers, "l2": bench.l2_state(size, buffers)}
            yield from bench.row(row, partial(matmul_calls, bench, (m, k, n), dtype, buffers))


def copy_calls(bench, size, buffers):
    """Calls that copy ``size`` bytes from one buffer to another, and go round ``buffers`` pairs."""
    pairs = bench.random((buffers, 2, size // 2))
    return [partial(target.copy_, source) for source, target in pairs]


def copies(bench):
    """Rows of copies from memory to memory."""
    for size in copy_sizes(bench.arguments.quick):
        buffers = bench.cold_copies(2 * size)
        row = {"operator": "copy", "bytes": size, "dtype": "bf16", "buffers": buffers}
        row["l2"] = bench.l2_state(2 * size, buffers)
        yield from bench.row(row, partial(copy_calls, bench, size, buffers))


def attention_calls(bench, decode, shape, buffers):
    """Calls of scaled-dot-product attention: queries stay, keys and values go round."""
    batch, heads, kv_heads, dim, context = shape
    query = bench.random((batch, heads, 1 if decode else context, dim))
    pairs = bench.random((buffers, 2, batch, kv_heads, context, dim))
    options = {"is_causal": not decode}
    if heads != kv_heads:
        options["enable_gqa"] = True  # from PyTorch 2.5
    attend = bench.torch.nn.functional.scaled_dot_product_attention
    return [partial(attend, query, keys, values, **options) for keys, values in pairs]


def fused_attention():
    """A context in which attention takes kernels that keep the scores on the chip, or fails."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    names = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION")
    return sdpa_kernel([getattr(SDPBackend, name) for name in names if hasattr(SDPBackend, name)])


def attention(bench, decode):
    """Rows of attention: one query a sequence, or a causal prompt."""
    for shape in attention_shapes(decode, bench.arguments.quick):
        batch, heads, kv_heads, dim, context = shape
        cache = 2 * batch * kv_heads * context * dim * 2
        buffers = bench.copies(cache)
        row = {
            "operator": "attention-decode" if decode else "attention-prefill",
            **{"batch": batch, "heads": heads, "kv_heads": kv_heads, "head_dim": dim},
            **{"context": context, "dtype": "bf16", "buffers": buffers},
            "l2": bench.l2_state(cache, buffers),
        }
        with fused_attention():
            found = bench.row(row, partial(attention_calls, bench, decode, shape, buffers))
        yield from found


def collectives(bench):
    """Rows of the collectives among the ranks of torchrun; the slowest rank counts.

    They are not captured: a capture that fails on one rank only would leave the others waiting.
    """
    import torch.distributed as dist

    dist.init_process_group("nccl" if bench.on_gpu else "gloo")
    for size in collective_sizes(bench.arguments.quick):
        elements = max(bench.ranks, size // 2 // bench.ranks * bench.ranks)
        for op, call in collective_calls(bench, dist, elements).items():
            row = {"operator": "collective", "op": op, "bytes": 2 * elements, "dtype": "bf16"}
            row |= {"ranks": bench.ranks, "buffers": 1, "l2": "warm"}
            try:
                found = collective_times(bench, dist, call)
            except (RuntimeError, ValueError) as error:
                bench.skip(row, error)
                continue
            yield {**row, **found}
    dist.destroy_process_group()


def collective_calls(bench, dist, elements):
    """A call of each operator on buffers of so many elements in all, by chipsim's names."""
    torch = bench.torch
    whole, out = torch.zeros((2, elements), dtype=torch.bfloat16, device=bench.device)
    part = torch.zeros(elements // bench.ranks, dtype=torch.bfloat16, device=bench.device)
    # PyTorch 2.13 gave two of them new names
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    return {
        "all-reduce": partial(dist.all_reduce, whole),
        "all-gather": partial(gather, out, part),
        "reduce-scatter": partial(scatter, part, whole),
        "all-to-all": partial(dist.all_to_all_single, out, whole),
    }


def collective_times(bench, dist, call):
    """Figures of a collective: a fixed number of calls, so that all ranks make as many.

    The device copies for milliseconds while the host queues the calls; the first one, untimed,
    waits for the other ranks.
    """
    torch = bench.torch
    count = 10
    devices = {"device_ids": [bench.index]} if bench.on_gpu else {}
    fill = torch.zeros((2, LEAD_BYTES // 2), dtype=torch.int16, device=bench.device)

    def lead():
        for _ in range(16):
            fill[1].copy_(fill[0])
        call()

    def several():
        for _ in range(count):
            call()

    several()
    times = []
    sensors = ("", "", "", "")
    for _ in range(bench.arguments.repeats):
        bench.synchronize()
        dist.barrier(**devices)
        found, sensors = bench.timed(several, 1, lead)
        times.append(found[0] / count)
    slowest = torch.tensor(times, device=bench.device, dtype=torch.float64)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return bench.figures(slowest.tolist(), count, ("",), sensors)


def sustained(bench):
    """Large matmuls for seconds: a row each half second, with the clock that the power limit left.

    Rows are of operator ``matmul-sustained``, which ``calibrate`` does not read on its own: they
    show how the clock falls with the duration.
    """
    sides = (4096,) if bench.arguments.quick else (4096, 8192, 16384)
    for dtype in bench.arguments.dtypes:
        if not supported(bench, "matmul-sustained", dtype, len(sides)):
            continue
        for side in sides:
            row = {"operator": "matmul-sustained", "m": side, "k": side, "n": side, "dtype": dtype}
            try:
                replay = bench.capture(8 * matmul_calls(bench, (side, side, side), dtype, 1))
            except RuntimeError as error:
                bench.skip(row, error)
                continue
            row |= {"buffers": 1, "l2": bench.l2_state(side**2 * DTYPE_BYTES[dtype], 1)}
            once = max(1e-6, min(bench.timed(replay, 3)[0]))
            started = time.perf_counter()
            while time.perf_counter() - started < bench.arguments.sustain:
                before = bench.sensors.read()
                times, after = bench.timed(replay, max(1, int(0.5 / once)))
                figures = bench.figures([seconds / 8 for seconds in times], 8, before, after)
                note = f"after {time.perf_counter() - started:.1f} s"
                yield {**row, **figures, "note": note}


def measurements(bench):
    """All rows that were asked for; only the first rank measures what needs one GPU."""
    only = bench.arguments.only
    if "collective" in only and bench.ranks > 1:
        yield from collectives(bench)  # first, so that no rank waits for what the first one does
    elif "collective" in only:
        print("collectives: left out, they need several GPUs and torchrun", file=sys.stderr)
    work = {
        "matmul": matmuls,
        "copy": copies,
        "attention-decode": partial(attention, decode=True),
        "attention-prefill": partial(attention, decode=False),
        "sustained": sustained,
    }
    for group in only:
        if group in work and bench.rank == 0:
            yield from work[group](bench)


def names(allowed):
    """A parser of comma-separated names, each counted once."""

    def parse(text):
        found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(allowed)}")
        if not found:
            raise argparse.ArgumentTypeError(f"nothing named, expected {', '.join(allowed)}")
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
    parser.add_argument("--l2", choices=("cold", "warm"), default="cold", help="but for copies")
    parser.add_argument("--quick", action="store_true", help="few shapes, to see that it works")
    parser.add_argument("--repeats", type=int, default=25, help="timed replays of a row")
    parser.add_argument("--warm-up", type=float, default=0.01, help="seconds before each row")
    parser.add_argument("--sustain", type=float, default=20.0, help="seconds of a sustained run")
    parser.add_argument("--no-graph", dest="graph", action="store_false", help="no CUDA graphs")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tries the script out"
    )
    arguments = parser.parse_args(words)
    if arguments.repeats < 1 or not arguments.warm_up >= 0 or not arguments.sustain > 0:
        parser.error("--repeats and --sustain must be positive, --warm-up not negative")
    if max(arguments.warm_up, arguments.sustain) > 3600 or arguments.repeats > 10_000:
        parser.error("--warm-up and --sustain may be 3600 s at most, --repeats 10000")
    return arguments


def refuse(arguments):
    """Why nothing can be measured, before anything is; None where it can. ``torch`` is imported."""
    output = Path(arguments.output)
    if output.is_dir():
        return f"'{output}' is a folder, expected a CSV file"
    if not output.parent.is_dir():
        return f"there is no folder '{output.parent}'"
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"this script needs PyTorch (pip install torch): {first_line(error)}"
    if arguments.device == "cpu":
        return None
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device (--device cpu tries the script)"
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        return f"local rank {local}, but only {torch.cuda.device_count()} GPUs"
    return None


def write_rows(bench, stream):
    """Write rows as they are measured; how many."""
    torch = bench.torch
    common = {"device": bench.name, "torch": torch.__version__, "driver": bench.sensors.driver}
    common["cuda"] = torch.version.cuda or torch.version.hip or ""
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    started = time.perf_counter()
    count = 0
    for row in measurements(bench):
        writer.writerow({**common, **row})
        stream.flush()
        count += 1
        if bench.rank == 0 and count % 25 == 0:
            spent = time.perf_counter() - started
            print(f"{count} rows in {spent:.0f} s, last: {row['operator']}", file=sys.stderr)
    return count


def main(words=None):
    """Measure and write; a file that is not complete keeps the ending ``.part``."""
    arguments = parse_arguments(words)
    why_not = refuse(arguments)
    if why_not is not None:
        print(f"error: {why_not}", file=sys.stderr)
        return 3
    import torch

    try:
        bench = Bench(torch, arguments)
    except RuntimeError as error:
        print(f"error: the device does not start: {first_line(error)}", file=sys.stderr)
        return 1
    part = Path(f"{arguments.output}.part" if bench.rank == 0 else os.devnull)
    fault = None
    try:
        with part.open("w", newline="", encoding="utf-8") as stream:
            count = write_rows(bench, stream)
    except OSError as error:
        print(f"error: cannot write '{part}': {error.strerror}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        fault = (130, "interrupted")
    except (DeviceError, RuntimeError) as error:
        fault = (1, f"the device failed: {first_line(error)}")
    for (kind, reason), rows in sorted(bench.left_out.items()):
        counted = "1 row" if rows == 1 else f"{rows} rows"
        print(f"left out: {counted} of {kind}: {reason}", file=sys.stderr)
    if bench.rank != 0:
        return fault[0] if fault else 0
    if fault:
        print(f"error: {fault[1]}; the rows so far are in {part}", file=sys.stderr)
        return fault[0]
    if not count:
        part.unlink()
        print("error: nothing could be measured", file=sys.stderr)
        return 1
    part.replace(arguments.output)
    print(f"{count} rows in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
