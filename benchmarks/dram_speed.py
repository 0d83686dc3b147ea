"""Requests per CPU second of the bank-level DRAM kernel, one core, after warm-up."""

from __future__ import annotations

import time

from simulator.config.loader import load_memory
from simulator.timing.memory import simulate_memory

CASES = (
    ("hbm2-2000", "sequential", 2_000_000),
    ("hbm3-6400", "sequential", 2_000_000),
    ("hbm2-2000", "random", 500_000),
    ("hbm3-6400", "random", 500_000),
    ("hbm3-6400", "block:1024", 500_000),
)


def main() -> None:
    for name, pattern, requests in CASES:
        channel = load_memory(name)
        simulate_memory(channel, pattern, requests=1000)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            simulate_memory(channel, pattern, requests=requests)
            seconds.append(time.process_time() - start)
        rate = requests / min(seconds) / 1e6
        print(f"{name:12} {pattern:12} {rate:7.2f} million requests per CPU second")


if __name__ == "__main__":
    main()
