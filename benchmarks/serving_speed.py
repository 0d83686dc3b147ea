"""CPU seconds, memory and start-up time of ``chipsim run``, measured from outside.

    python benchmarks/serving_speed.py [--trace FILE] [--prompts FILE] [--requests N] [--repeat N]

``--trace`` is the Azure conversation trace of 2023, ``--prompts`` the Mooncake conversation trace.
Without them requests are drawn (seeded) from shipped workloads: ``chat``, which has the statistics
of the first (19,366 requests, 5.53 a second, prompts of 1,155 tokens and answers of 211 on
average), and 12,031 requests of ``agent``, whose turns share long prefixes too. ``--requests`` is
the length of the long replay on 64 replicas (1,000,000; 0 leaves it out). Each case runs once to
warm the kernel cache and then ``--repeat`` times, the long one once; the fastest is printed,
because other work on the machine only adds time. How busy it was shows in what ``import numba``
takes, which is printed before and after: 0.25 CPU seconds on the quiet machine of
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REQUESTS = 19_366
"""Requests of the Azure conversation trace."""

PROMPTS = 12_031
"""Requests of the Mooncake conversation trace."""

LARGE = "h100:8"
SMALL = "tpu-v6e"
SYSTEMS = ((SMALL, "llama3-8b"), (LARGE, "llama3-70b"))
LONG = ((SMALL, "45"), ("h100", "80"))
"""Systems of the long replay, and how much faster than ``chat`` its requests come: batches of
about ten sequences."""

KIB_PER_MB = 1e6 / 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: CPU seconds (user and system), wall seconds, peak memory, its stdout."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    stdout: str


@dataclass(frozen=True, slots=True)
class Case:
    """A command, what it is called, and the CPU seconds and megabytes that it may take."""

    label: str
    words: tuple[str, ...]
    most_s: float
    most_mb: float


def measure(*words: str) -> Cost:
    """Run chipsim once and return its own cost; stops where it fails."""
    return measure_python("-m", "simulator", *words)


def measure_python(*words: str) -> Cost:
    """Run Python once and return its own cost; stops where it fails."""
    with tempfile.TemporaryFile("w+") as stdout:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, *words], stdout=stdout)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"python {' '.join(words)} ended with status {process.returncode}")
        stdout.seek(0)
        text = stdout.read()
    # ru_maxrss is in KiB on Linux
    return Cost(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / KIB_PER_MB, text)


def fastest(repeat: int, *words: str) -> Cost:
    """The run with the fewest CPU seconds of ``repeat``, after one that is not counted."""
    measure(*words)
    return min((measure(*words) for _ in range(repeat)), key=lambda cost: cost.cpu_s)


def show_calibration() -> None:
    """What a fixed piece of work takes now: how busy the machine is."""
    cost = min((measure_python("-c", "import numba") for _ in range(3)), key=lambda c: c.cpu_s)
    print(f"\nimport numba: {cost.cpu_s:.2f} CPU s, {cost.wall_s:.2f} s wall\n")


def show_startup(trace: str, repeat: int) -> None:
    """Commands that do next to nothing."""
    print(f"{'start-up':<40}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}")
    commands = {
        "chipsim --help": ("--help",),
        "chipsim config list": ("config", "list"),
    }
    for system, model in SYSTEMS:
        words = ("run", system, model, "--trace", trace, "--limit", "10")
        commands[f"chipsim run {system}, 10 requests"] = words
    for label, words in commands.items():
        cost = fastest(repeat, *words)
        print(f"{label:<40}{cost.cpu_s:>8.2f}{cost.wall_s:>8.2f}{cost.peak_mb:>9.0f}")


def cases(trace: str, prompts: tuple[str, ...]) -> Iterator[Case]:
    """The replays that are repeated."""
    for system, model in SYSTEMS:
        words = ("run", system, model, "--trace", trace)
        yield Case(f"conversation {system}", words, 6, 500)
    for system, model in SYSTEMS:
        words = ("run", system, model, *prompts, "--replicas", "4", "--prefix-cache", "on")
        yield Case(f"prefix cache, 4 x {system}", words, 6, 500)
    for system, model in SYSTEMS:
        pools = ("--prefill", system, "--decode", system, "--decode-replicas", "2")
        words = ("run", model, "--trace", trace, *pools)
        yield Case(f"1 prefill + 2 decode {system}", words, 6, 500)


def long_cases(trace: str) -> Iterator[Case]:
    """The replays on 64 replicas."""
    for system, scale in LONG:
        words = ("run", system, "llama3-8b", "--trace", trace, "--replicas", "64")
        yield Case(f"64 x {system}", (*words, "--rate-scale", scale), 60, 2000)


def show(case: Case, cost: Cost) -> None:
    """One line about a replay, with the shares of its limits; what is over one is marked."""
    result = json.loads(cost.stdout)
    arrived = result["requests"]["arrived"]
    over = "  over" if cost.cpu_s > case.most_s or cost.peak_mb > case.most_mb else ""
    print(
        f"{case.label:<30}{arrived:>10,}{result['iterations']:>12,}{cost.cpu_s:>8.2f}"
        f"{cost.cpu_s / case.most_s:>9.0%}{cost.wall_s:>8.2f}{cost.peak_mb:>9.0f}"
        f"{cost.peak_mb / case.most_mb:>9.0%}{arrived / cost.cpu_s:>16,.0f}{over}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time and memory of chipsim run")
    parser.add_argument("--trace", help="a conversation trace instead of generated requests")
    parser.add_argument("--prompts", help="a trace with hash_ids instead of the workload agent")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the long replay")
    parser.add_argument("--repeat", type=int, default=3, help="measured runs of each case")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:

        def generated(count: int) -> str:
            path = str(Path(directory) / f"chat{count}.csv")
            measure("trace", "generate", "chat", "--count", str(count), "--seed", "1", "-o", path)
            return path

        trace = arguments.trace or generated(REQUESTS)
        prompts = ("agent", "--limit", str(PROMPTS))
        if arguments.prompts:
            prompts = ("--trace", arguments.prompts)
        show_calibration()
        show_startup(trace, arguments.repeat)
        print(
            f"\n{'replay':<30}{'requests':>10}{'iterations':>12}{'CPU s':>8}{'of limit':>9}"
            f"{'wall s':>8}{'peak MB':>9}{'of limit':>9}{'requests/CPU s':>16}"
        )
        for case in cases(trace, prompts):
            show(case, fastest(arguments.repeat, *case.words, "--format", "json"))
        if arguments.requests:
            for case in long_cases(generated(arguments.requests)):
                show(case, measure(*case.words, "--format", "json"))
        show_calibration()


if __name__ == "__main__":
    main()
