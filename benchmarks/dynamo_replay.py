"""CPU seconds of ``chipsim run`` beside those of the Rust replayer in PyPI's ``ai-dynamo``.

    python benchmarks/dynamo_replay.py TRACE [--replicas N] [--repeat N] [--dynamo-python PATH]

TRACE is a Mooncake trace (JSON lines with ``hash_ids``). Both replay it with a prefix cache on the
same number of replicas; the replayer is that of the Rust core (``ai-dynamo-runtime``) with its own
default engine, dealt round robin, called in the Python of ``--dynamo-python`` (this one, if none is
given), and the ratio of the two is printed. Where it is not installed only chipsim is measured, and
that is said. ``ai-dynamo`` 1.6.1 needs a package that PyPI has only as a placeholder, but not for
its replayer: ``pip install --no-deps ai-dynamo ai-dynamo-runtime typing_extensions`` in an
environment of its own is enough.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

from serving_speed import Cost, fastest

SYSTEM, MODEL = "h100:8", "llama3-70b"

PROBE = "import dynamo._core, dynamo.replay"
REPLAY = """
import resource, sys
from dynamo.replay import run_trace_replay
run_trace_replay(sys.argv[1], num_workers=int(sys.argv[2]), trace_block_size=512)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def installed(python: str) -> bool:
    """Whether the Rust replayer can be run by an interpreter."""
    return subprocess.run([python, "-c", PROBE], capture_output=True, check=False).returncode == 0


def replayer_cost(python: str, trace: str, replicas: int) -> tuple[float, float]:
    """User and system seconds of one replay by the Rust replayer, and megabytes at its peak."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [python, "-c", REPLAY, trace, str(replicas)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the replayer ended with status {done.returncode}: {done.stderr[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, float(done.stdout.split()[-1])


def chipsim_cost(trace: str, replicas: int, repeat: int) -> Cost:
    """The cheapest of a few replays by chipsim."""
    words = ("run", SYSTEM, MODEL, trace, "--replicas", str(replicas), "--prefix-cache", "on")
    return fastest(repeat, *words, "--format", "json")


def main() -> None:
    parser = argparse.ArgumentParser(description="chipsim beside the Rust replayer of ai-dynamo")
    parser.add_argument("trace", help="a Mooncake trace")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3, help="measured runs of chipsim")
    parser.add_argument(
        "--dynamo-python", default=sys.executable, help="the Python that has ai-dynamo"
    )
    arguments = parser.parse_args()
    ours = chipsim_cost(arguments.trace, arguments.replicas, arguments.repeat)
    print(f"chipsim          {ours.cpu_s:8.2f} CPU s  {ours.peak_mb:6.0f} MB")
    if not installed(arguments.dynamo_python):
        print("dynamo replayer  not installed, nothing to compare with")
        return
    theirs = [
        replayer_cost(arguments.dynamo_python, arguments.trace, arguments.replicas)
        for _ in range(arguments.repeat)
    ]
    cpu_s, peak_mb = min(theirs)
    print(f"dynamo replayer  {cpu_s:8.2f} CPU s  {peak_mb:6.0f} MB")
    print(f"ratio            {cpu_s / ours.cpu_s:8.2f} (above 1: chipsim is faster)")


if __name__ == "__main__":
    main()
