"""Traces as CSV text that reads back as the same picoseconds and tokens."""

from __future__ import annotations

from typing import TextIO

from simulator.workload.request import PS_PER_S, Requests
from simulator.workload.trace_formats import MARK_COLUMNS

HEADER = "arrived_at,num_prefill_tokens,num_decode_tokens"
_CHUNK = 65_536


def write_trace(requests: Requests, stream: TextIO) -> None:
    """Write an ``arrived_at`` CSV: seconds with as many decimals as they need, tokens as they are.

    ``read_trace`` gives back these arrivals, lengths, classes and priorities, as long as the first
    one arrives at 0. A later turn of a session is written as if every answer came at once.
    """
    classes, priority = requests.slo_class, requests.priority
    extras = [
        name
        for name, column in zip(MARK_COLUMNS, (classes, priority), strict=True)
        if column is not None
    ]
    stream.write(",".join([HEADER, *extras]) + "\n")
    for start in range(0, len(requests), _CHUNK):
        rows = slice(start, start + _CHUNK)
        arrivals = requests.arrival_ps[rows].tolist()
        prompts = requests.prompt_tokens[rows].tolist()
        outputs = requests.output_tokens[rows].tolist()
        lines = [
            f"{_seconds(arrival)},{prompt},{output}\n"
            for arrival, prompt, output in zip(arrivals, prompts, outputs, strict=True)
        ]
        if classes is not None:
            names = [requests.classes[index].name for index in classes[rows].tolist()]
            lines = [f"{line[:-1]},{name}\n" for line, name in zip(lines, names, strict=True)]
        if priority is not None:
            urgent = priority[rows].tolist()
            lines = [f"{line[:-1]},{number}\n" for line, number in zip(lines, urgent, strict=True)]
        stream.write("".join(lines))


def _seconds(ps: int) -> str:
    whole, part = divmod(ps, PS_PER_S)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".") if part else str(whole)
