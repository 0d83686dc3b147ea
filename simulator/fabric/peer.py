"""All-reduce kernels of serving engines: chips read each other's buffers through the switch.

n ranks, a buffer of S bytes in each. vLLM (csrc/custom_all_reduce.cuh), SGLang and TensorRT-LLM
have both kinds.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from simulator.fabric.parts import NONE, Op, Step, assemble
from simulator.fabric.schedule import Schedule
from simulator.hardware.fabric import Fabric, PeerKernels, Protocol

PROTOCOL = "peer-memory"


def peer_schedules(fabric: Fabric, op: Op) -> list[Schedule]:
    """One-shot and two-shot all-reduce, where the fabric's engine has them for so many ranks."""
    kernels, n = fabric.engine, fabric.chips
    if kernels is None or op != "all-reduce" or not 2 <= n <= kernels.most_ranks:
        return []
    whole, m = Fraction(n - 1), Fraction(n - 1, n)
    # one-shot: everybody reads and adds all buffers; two-shot: its nth of them, then the sums
    one = [Step(1, kernels.hops, whole, Fraction(1), "injection")]
    two = [
        Step(1, kernels.hops, m, Fraction(1, n), "injection"),
        Step(1, kernels.hops, m, NONE, "injection"),
    ]
    return [
        _kernel(fabric, kernels, "one-shot", one, n * whole),
        _kernel(fabric, kernels, "two-shot", two, 2 * n * m),
    ]


def _kernel(
    fabric: Fabric, kernels: PeerKernels, algorithm: str, steps: list[Step], wire: Fraction
) -> Schedule:
    launched = replace(fabric, collective_overhead_ps=kernels.launch_ps)
    protocol = Protocol(PROTOCOL, efficiency=kernels.efficiency)
    staged = Fraction(1) if kernels.staged else NONE
    made = assemble(launched, protocol, algorithm, steps, wire, copied=staged)
    return replace(made, largest=kernels.largest_bytes)
