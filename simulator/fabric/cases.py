"""A fabric from plain figures: topology, ranks, link bandwidth and latency."""

from __future__ import annotations

from simulator.errors import InputError, did_you_mean
from simulator.hardware.fabric import Fabric, FabricKind

TOPOLOGIES: tuple[FabricKind, ...] = ("ring", "switch", "fully-connected", "torus", "mesh")


def plain_fabric(
    topology: str,
    axes: tuple[int, ...],
    *,
    bandwidth_bytes_per_s: int,
    latency_ps: int,
    endpoint_delay_ps: int = 0,
    reduce_bytes_per_s: int = 0,
) -> Fabric:
    """The fabric of one topology; ``latency_ps`` is that of one link.

    A way through a switch is two links. ``bandwidth_bytes_per_s`` is per link and direction; a
    reduction that costs nothing has rate 0.

    Raises:
        InputError: an unknown topology, or axes that it cannot have.
    """
    kind = next((known for known in TOPOLOGIES if known == topology), None)
    if kind is None:
        raise InputError(
            f"unknown topology '{topology[:40]}'", hint=did_you_mean(topology, TOPOLOGIES)
        )
    if kind not in ("torus", "mesh") and len(axes) != 1:
        shape = "x".join(str(axis) for axis in axes)
        raise InputError(f"a {kind} has no axes, found {shape}", hint="expected one number")
    closed = kind in ("ring", "torus")
    return Fabric(
        kind=kind,
        axes=axes,
        wrap=tuple(closed and axis > 2 for axis in axes),
        link_bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        hop_latency_ps=latency_ps * (2 if kind == "switch" else 1),
        endpoint_delay_ps=endpoint_delay_ps,
        reduce_bytes_per_s=reduce_bytes_per_s,
    )
