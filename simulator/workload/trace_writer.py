"""Traces as CSV text that reads back as the same picoseconds and tokens."""

from __future__ import annotations

from typing import TextIO

from simulator.workload.request import Requests
from simulator.workload.trace_cells import PS_PER_S

HEADER = "arrived_at,num_prefill_tokens,num_decode_tokens"
_CHUNK = 65_536


def write_trace(requests: Requests, stream: TextIO) -> None:
    """Write an ``arrived_at`` CSV: seconds with as many decimals as they need, tokens as they are.

    ``read_trace`` gives back exactly these requests, as long as the first one arrives at 0.
    """
    stream.write(HEADER + "\n")
    for start in range(0, len(requests), _CHUNK):
        rows = slice(start, start + _CHUNK)
        arrivals = requests.arrival_ps[rows].tolist()
        prompts = requests.prompt_tokens[rows].tolist()
        outputs = requests.output_tokens[rows].tolist()
        lines = [
            f"{_seconds(arrival)},{prompt},{output}\n"
            for arrival, prompt, output in zip(arrivals, prompts, outputs, strict=True)
        ]
        stream.write("".join(lines))


def _seconds(ps: int) -> str:
    whole, part = divmod(ps, PS_PER_S)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".") if part else str(whole)
