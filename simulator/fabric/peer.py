"""All-reduce kernels of the serving engine: chips reach each other's buffers through the switch."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from simulator.errors import InputError
from simulator.fabric.parts import Op
from simulator.fabric.schedule import PS_PER_S, Phase, Schedule
from simulator.hardware.engine_kernels import ENGINES, EngineKernel, Limits, has_rules
from simulator.hardware.fabric import Engine, Fabric, with_kernels
from simulator.hardware.kernel_libraries import AllReduce, AllReduceKernel

PROTOCOL = "peer-memory"


def with_engine(fabric: Fabric, name: str) -> Fabric:
    """The fabric with another of ``ENGINES`` on it.

    Raises:
        InputError: the system has no engine, or this one has no rules for its chips.
    """
    if fabric.engine is None or fabric.inner is not None:
        raise InputError(f"'{name}' has no kernels for this system's fabric")
    capability = fabric.engine.capability
    if not has_rules(name, capability):
        raise InputError(f"'{name}' has no kernels for compute capability {capability}")
    return with_kernels(fabric, name)


def host_chips(fabric: Fabric) -> int:
    """Chips of one host: eight, as in most servers of GPUs, where the fabric does not say."""
    return math.prod(fabric.host or (8,))


def engine_limits(fabric: Fabric, op: Op) -> Limits:
    """The kernels that the engine takes for the operation, up to which sizes; none: no kernels.

    They map the memory of other processes, so all ranks have to be on one host: vLLM's and SGLang's
    ``in_the_same_node_as``.
    """
    engine = fabric.engine
    if engine is None or op != "all-reduce" or fabric.chips > host_chips(fabric):
        return ()
    found = ENGINES[engine.name].get((engine.capability, fabric.chips), ())
    if fabric.kind == "fully-connected":
        # nothing between the chips that could add or multiply
        return tuple(pair for pair in found if pair[0] is None or pair[0].algorithm != "in-network")
    return found


def peer_schedules(fabric: Fabric, op: Op) -> list[Schedule]:
    """The engine's kernels, each for the sizes for which the engine takes it."""
    engine, found, above = fabric.engine, [], 0
    assert engine is not None or not engine_limits(fabric, op)
    for kernel, most in engine_limits(fabric, op):
        if kernel is not None and engine is not None and most > above:
            made = _schedule(fabric, engine, kernel)
            found.append(replace(made, smallest=above, largest=most))
        above = max(above, most)
    return found


def library_ranges(fabric: Fabric, op: Op) -> list[tuple[int, int]]:
    """(more than, up to) bytes that the engine leaves to the library; up to 0: any number."""
    ranges, above = [], 0
    for kernel, most in engine_limits(fabric, op):
        if kernel is None:
            ranges.append((above, most))
        above = max(above, most)
    return [*ranges, (above, 0)]


def _schedule(fabric: Fabric, engine: Engine, kernel: EngineKernel) -> Schedule:
    n = fabric.chips
    # between fully connected chips each peer has a link of its own
    links = n - 1 if fabric.kind == "fully-connected" else 1
    shares = {
        "one-shot": (1, Fraction(n - 1), Fraction(1), n * (n - 1)),
        # its nth of all buffers, then the sums
        "two-shot": (2, Fraction(n - 1, n), Fraction(1, n), 2 * (n - 1)),
        # a read of the sum of its nth and a write of it to all, as in ``switched``
        "in-network": (2, Fraction(n + 1, 2 * n), Fraction(0), n + 1),
    }
    steps, share, reduced, wire = shares[kernel.algorithm]
    library = engine.kernels or _usual_figures()
    own: AllReduceKernel = getattr(library, kernel.figures)
    passes = _exact(own.hops) + n * _exact(own.hops_per_rank)
    phases = [
        Phase(
            steps=steps,
            latency_ps=int(passes * fabric.hop_latency_ps / steps) + fabric.endpoint_delay_ps,
            link_num=share.numerator,
            link_den=share.denominator * links,
            rate=_rate(fabric, engine.efficiency, own.window_bytes, library.round_trip, links),
            reduce_num=reduced.numerator,
            reduce_den=reduced.denominator,
            reduce_rate=fabric.reduce_bytes_per_s,
            resource="link" if fabric.kind == "fully-connected" else "injection",
        )
    ]
    if own.copies:
        phases.append(Phase(1, 0, 0, 1, 1, own.copies, 1, engine.copy_bytes_per_s))
    return Schedule(
        algorithm=kernel.algorithm,
        protocol=PROTOCOL,
        fixed_ps=own.launches * engine.launch_ps + fabric.endpoint_delay_ps,
        phases=tuple(phases),
        wire_num=wire,
        wire_den=1,
        link_rate=fabric.link_bandwidth_bytes_per_s,
    )


def _rate(fabric: Fabric, efficiency: float, window: int, round_trip: float, links: int) -> int:
    """Bytes a second of a link: what it leaves, or a window for each round trip (Little's law).

    The window, in bytes, is that of all ``links`` together; ``round_trip`` is in passes.
    """
    link = int(fabric.link_bandwidth_bytes_per_s * efficiency)
    if window and fabric.hop_latency_ps:
        latency = _exact(round_trip) * fabric.hop_latency_ps
        link = min(link, int(window * PS_PER_S / latency / links))
    return max(1, link)


def _exact(figure: float) -> Fraction:
    """The decimal figure of a file."""
    return Fraction(str(figure))


def _usual_figures() -> AllReduce:
    # for fabrics that are made in Python; those of files bring theirs
    from simulator.config.loader import load_libraries

    return load_libraries().all_reduce
