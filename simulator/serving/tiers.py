"""Memory below HBM that a replica can use for KV cache: the host's, over the host link."""

from __future__ import annotations

from simulator.errors import InputError
from simulator.serving.options import KvTiers, ServingOptions
from simulator.timing.plan import Plan


def tiers_of(plan: Plan, options: ServingOptions) -> KvTiers:
    """The tiers that the options name or, for preemption by swap, those of the system.

    Raises InputError where sequences shall be swapped and the system says nothing of its hosts.
    """
    if options.tiers is not None:
        return options.tiers
    if options.preemption != "swap":
        return KvTiers()
    system = plan.system
    if system.host_link_bytes_per_s == 0:
        raise InputError(
            f"system '{system.name}' has no host link over which sequences could be swapped",
            hint="use --preemption recompute, or add 'host_link:' and 'host_memory:' to its file",
        )
    chips = plan.layout.chips // plan.layout.dp
    return KvTiers(system.host_memory_bytes * chips, system.host_link_bytes_per_s * chips)
