"""CPU seconds of the prices that the project promises: python benchmarks/fabric_speed.py"""

from __future__ import annotations

import time
from collections.abc import Callable

from simulator.config import load_system
from simulator.fabric.collectives import _priced, all_schedules, price_collective, schedules
from simulator.fabric.inspect import inspect, inspect_level
from simulator.fabric.links import link_graph, uniform_loads
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.kernels.fabric_price import collective


def cpu_s(work: Callable[[], object], repeats: int = 1) -> float:
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats


def forget() -> None:
    """Empty every memory, so that a price is worked out again."""
    for function in (_priced, all_schedules, schedules, link_graph):
        function.cache_clear()


def main() -> None:
    small = load_system("tpu-v7x:4x4x4").fabric
    uniform_loads(link_graph(small))
    table = pack_fabric(small)
    collective(table, 0, 1024)
    cases = [
        ("tpu-v7x:8x8x8", "all-reduce", 0.01),
        ("tpu-v7x:8x8x8", "all-to-all", 0.01),
        ("tpu-v7x:16x24x24", "all-reduce", 2.0),
        ("tpu-v7x:16x24x24", "all-to-all", 2.0),
        ("tpu-v7x:16x24x24x16", "all-reduce", 10.0),
        ("tpu-v7x:16x24x24x16", "all-to-all", 10.0),
    ]
    print("what,cpu_s,limit_s")
    for name, op, limit in cases:
        fabric = load_system(name).fabric
        forget()
        print(
            f"{op} on {name},{cpu_s(lambda f=fabric, o=op: price_collective(f, o, 2**30)):.6f},"
            f"{limit}"
        )
    pod = load_system("tpu-v7x:16x24x24").fabric
    forget()
    print(f"link loads of 9216 chips,{cpu_s(lambda: uniform_loads(link_graph(pod))):.6f},2.0")
    print(f"chipsim fabric of 9216 chips,{cpu_s(lambda: inspect(pod)):.6f},2.0")
    pods = load_system("tpu-v7x:16x24x24x16").fabric
    forget()
    inspect_level.cache_clear()
    print(f"chipsim fabric of 147456 chips,{cpu_s(lambda: inspect(pods)):.6f},10.0")
    known = cpu_s(lambda: price_collective(small, "all-reduce", 2**20), 10_000)
    print(f"a price known already,{known:.9f},0.00002")
    inside = cpu_s(lambda: collective(table, OP_INDEX["all-reduce"], 2**20), 10_000)
    print(f"a price in a kernel (called from Python),{inside:.9f},0.00002")


if __name__ == "__main__":
    main()
