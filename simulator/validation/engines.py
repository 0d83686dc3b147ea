"""What serving engines do between two steps of the chip, for comparisons with measured servers.

A step of an engine takes the chip's time, a time of the host for itself, and one for each sequence
that gets a token (scheduling, sampling, detokenizing, streaming). The figures are those of least
soft absolute relative error on half of the dense, aggregated rows of ``silicon_sample.csv`` in
aiconfigurator-core 0.12.0; the errors of the other half differ by less than a point.

Engines that run whole prompts before they go on decoding let the requests of a fixed load march in
step: all answers of a length end together, the prompts of the next ones are computed one after
another, and a request waits for those that come behind it: for half of them on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Engine:
    """``step_s`` and ``sequence_s``: the host's time a step and, beyond that, a sequence;
    ``waits_for``: share of the other requests' prompts that a request's tokens wait for."""

    step_s: float
    sequence_s: float
    waits_for: float = 1.0


ENGINES = {
    "trtllm": Engine(0.87e-3, 13.4e-6),
    "vllm": Engine(2.12e-3, 31.1e-6),
    "sglang": Engine(1.55e-3, 24.4e-6, 0.5),
}


def find_engine(name: str, host_s: float) -> Engine:
    """The engine of a name; without one, that of a system with ``host_s`` between two steps.

    Raises:
        InputError: there is none of that name.
    """
    if not name:
        return Engine(host_s, 0.0)
    if name not in ENGINES:
        raise InputError(f"unknown engine '{name}'", hint=did_you_mean(name, ENGINES))
    return ENGINES[name]
