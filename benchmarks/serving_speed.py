"""CPU seconds, memory and start-up time of ``chipsim run``, measured from outside.

    python benchmarks/serving_speed.py [--trace FILE] [--repeat N]

Without ``--trace`` the requests are drawn (seeded) from the shipped workload ``chat``, which has
the statistics of the Azure conversation trace of 2023: 19,366 requests, 5.53 a second, prompts of
1,155 tokens and answers of 211 on average. Each case runs once to warm the kernel cache and then
``--repeat`` times; the fastest is printed, because other work on the machine only adds time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REQUESTS = 19_366
"""Requests of the Azure conversation trace."""

CASES = (("tpu-v6e", "llama3-8b"), ("h100:8", "llama3-70b"))

KIB_PER_MB = 1e6 / 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: CPU seconds (user and system), wall seconds, peak memory, its stdout."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    stdout: str


def measure(*words: str) -> Cost:
    """Run chipsim once and return its own cost; stops where it fails."""
    with tempfile.TemporaryFile("w+") as stdout:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "simulator", *words], stdout=stdout)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"chipsim {' '.join(words)} ended with status {process.returncode}")
        stdout.seek(0)
        text = stdout.read()
    # ru_maxrss is in KiB on Linux
    return Cost(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / KIB_PER_MB, text)


def fastest(repeat: int, *words: str) -> Cost:
    """The run with the fewest CPU seconds of ``repeat``, after one that is not counted."""
    measure(*words)
    return min((measure(*words) for _ in range(repeat)), key=lambda cost: cost.cpu_s)


def show_startup(trace: str, repeat: int) -> None:
    """Commands that do next to nothing."""
    print(f"{'start-up':<34}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}")
    system, model = CASES[0]
    commands = {
        "chipsim --help": ("--help",),
        "chipsim config list": ("config", "list"),
        "chipsim run, 10 requests": ("run", system, model, "--trace", trace, "--limit", "10"),
    }
    for label, words in commands.items():
        cost = fastest(repeat, *words)
        print(f"{label:<34}{cost.cpu_s:>8.2f}{cost.wall_s:>8.2f}{cost.peak_mb:>9.0f}")


def show_replays(trace: str, repeat: int) -> None:
    """The whole trace on each pair of system and model."""
    print(
        f"\n{'replay':<24}{'requests':>10}{'iterations':>12}{'CPU s':>8}{'wall s':>8}"
        f"{'peak MB':>9}{'requests/CPU s':>16}"
    )
    for system, model in CASES:
        cost = fastest(repeat, "run", system, model, "--trace", trace, "--format", "json")
        result = json.loads(cost.stdout)
        arrived = result["requests"]["arrived"]
        print(
            f"{system + ' ' + model:<24}{arrived:>10,}{result['iterations']:>12,}{cost.cpu_s:>8.2f}"
            f"{cost.wall_s:>8.2f}{cost.peak_mb:>9.0f}{arrived / cost.cpu_s:>16,.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time and memory of chipsim run")
    parser.add_argument("--trace", help="a trace file instead of the generated requests")
    parser.add_argument("--repeat", type=int, default=3, help="measured runs of each case")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        trace = arguments.trace
        if trace is None:
            trace = str(Path(directory) / "chat.csv")
            count = str(REQUESTS)
            measure("trace", "generate", "chat", "--count", count, "--seed", "0", "-o", trace)
        show_startup(trace, arguments.repeat)
        show_replays(trace, arguments.repeat)


if __name__ == "__main__":
    main()
