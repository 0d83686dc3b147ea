"""CPU seconds of ``chipsim run`` beside those of the Rust replayer in PyPI's ``ai-dynamo``.

    python benchmarks/dynamo_replay.py TRACE [--replicas N] [--repeat N]

TRACE is a Mooncake trace (JSON lines with ``hash_ids``). Both replay it with a prefix cache on the
same number of replicas; the replayer is called as ``python -m dynamo.replay`` where the package is
installed in this environment, and the ratio of the two is printed. Where it is not only chipsim is
measured, and that is said.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys

from serving_speed import Cost, fastest

SYSTEM, MODEL = "h100:8", "llama3-70b"
REPLAYER = "dynamo.replay"


def installed() -> bool:
    """Whether the Rust replayer can be run here."""
    try:
        return importlib.util.find_spec(REPLAYER) is not None
    except ModuleNotFoundError:
        return False


def replayer_cpu_s(trace: str, replicas: int) -> float:
    """User and system seconds of one replay by the Rust replayer; stops where it fails."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", REPLAYER, trace, "--num-workers", str(replicas)]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[1:])} ended with status {done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def chipsim_cost(trace: str, replicas: int, repeat: int) -> Cost:
    """The cheapest of a few replays by chipsim."""
    words = ("run", SYSTEM, MODEL, trace, "--replicas", str(replicas), "--prefix-cache", "on")
    return fastest(repeat, *words, "--format", "json")


def main() -> None:
    parser = argparse.ArgumentParser(description="chipsim beside the Rust replayer of ai-dynamo")
    parser.add_argument("trace", help="a Mooncake trace")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3, help="measured runs of chipsim")
    arguments = parser.parse_args()
    ours = chipsim_cost(arguments.trace, arguments.replicas, arguments.repeat)
    print(f"chipsim          {ours.cpu_s:8.2f} CPU s  {ours.peak_mb:6.0f} MB")
    if not installed():
        print("dynamo replayer  not installed (pip install ai-dynamo), nothing to compare with")
        return
    theirs = replayer_cpu_s(arguments.trace, arguments.replicas)
    print(f"dynamo replayer  {theirs:8.2f} CPU s")
    print(f"ratio            {theirs / ours.cpu_s:8.2f} (above 1: chipsim is faster)")


if __name__ == "__main__":
    main()
