"""What serves: pools of replicas, each with its own system and plan, and what joins the pools."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.errors import InputError
from simulator.hardware import System
from simulator.serving.faults import Fault
from simulator.timing.layout_options import LayoutOptions
from simulator.timing.plan import Plan

SERVE = "serve"
PREFILL = "prefill"
DECODE = "decode"

ALWAYS = "always"
NEVER = "never"
UNCACHED = "uncached"
POLICIES = (ALWAYS, NEVER, UNCACHED)

MOST_REPLICAS = 65_536

MOST_RETRIES = 10
"""Failures that a request survives, unless another number is given."""


@dataclass(frozen=True, slots=True)
class KvLink:
    """The link of each replica to the network that carries KV caches, in each direction.

    ``bytes_per_s`` None is an unlimited one.
    """

    bytes_per_s: int | None
    latency_ps: int = 0


@dataclass(frozen=True, slots=True)
class Servers:
    """``copies`` of a system, before the model is laid over it."""

    system: System
    layout: LayoutOptions = field(default_factory=LayoutOptions)
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Member:
    """``copies`` of a plan's system; each has as many replicas as the plan."""

    plan: Plan
    copies: int = 1

    @property
    def replicas(self) -> int:
        """Replicas of all copies."""
        return self.copies * self.plan.replicas

    @property
    def chips(self) -> int:
        """Chips of all copies."""
        return self.copies * self.plan.system.chips


@dataclass(frozen=True, slots=True)
class Pool:
    """Replicas with the same task: ``serve`` (everything), ``prefill`` or ``decode``."""

    role: str
    members: tuple[Member, ...]

    @property
    def replicas(self) -> int:
        """Replicas of all members."""
        return sum(member.replicas for member in self.members)

    @property
    def chips(self) -> int:
        """Chips of all members."""
        return sum(member.chips for member in self.members)

    @property
    def name(self) -> str:
        """Systems of the pool, such as ``4 x h100:8 + tpu-v6e``."""
        parts = [
            f"{member.copies} x {member.plan.system.name}"
            if member.copies > 1
            else member.plan.system.name
            for member in self.members
        ]
        return " + ".join(parts)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Pools, the router before each of them, and what happens when something fails.

    One pool of role ``serve``, or one of ``prefill`` and one of ``decode``. With two pools
    ``disaggregate`` says which prompts are prefilled apart: all (``always``), none (``never``) or
    those with more than ``uncached_tokens`` tokens that are not cached (``uncached``). ``kv_link``
    None takes the network of each system. A request is computed again after a failure
    (``on_failure`` retry) at most ``max_retries`` times, and is lost with the next one.
    """

    pools: tuple[Pool, ...]
    router: str = "round-robin"
    kv_link: KvLink | None = None
    disaggregate: str = ALWAYS
    uncached_tokens: int = 0
    rebalance_ps: int | None = None
    faults: tuple[Fault, ...] = field(default=())
    on_failure: str = "retry"
    max_retries: int = MOST_RETRIES

    def __post_init__(self) -> None:
        roles = [pool.role for pool in self.pools]
        if roles not in ([SERVE], [PREFILL, DECODE]):
            raise InputError(
                f"pools {', '.join(roles) or '(none)'}; expected serve, or prefill and decode"
            )
        for pool in self.pools:
            if not 1 <= pool.replicas <= MOST_REPLICAS:
                raise InputError(
                    f"the {pool.role} pool has {pool.replicas} replicas, "
                    f"expected 1 to {MOST_REPLICAS}"
                )
        if self.max_retries < 0:
            raise InputError(f"--max-retries must be at least 0, found {self.max_retries}")
        if self.rebalance_ps is not None and len(self.pools) == 1:
            raise InputError("--rebalance needs a prefill and a decode pool")
        if self.rebalance_ps is not None and self.rebalance_ps <= 0:
            raise InputError("--rebalance must be above zero")

    @property
    def chips(self) -> int:
        """Chips of all pools."""
        return sum(pool.chips for pool in self.pools)

    @property
    def replicas(self) -> int:
        """Replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)


def one_system(plan: Plan, copies: int = 1) -> Deployment:
    """Copies of one system, each replica of which serves whole requests."""
    return Deployment((Pool(SERVE, (Member(plan, copies),)),))


def link_of(plan: Plan, override: KvLink | None) -> KvLink:
    """The link of one replica: the network cards of its chips together, unless given.

    Raises:
        InputError: the system has no network.
    """
    if override is not None:
        return override
    network = plan.system.network
    if network is None:
        raise InputError(
            f"system '{plan.system.name}' has no network that could carry KV caches",
            hint="give one, such as --kv-link 400Gb/s,5us, or add 'network:' to its file",
        )
    return KvLink(plan.layout.chips * network.bandwidth_bytes_per_s, network.latency_ps)


def check_joined(deployment: Deployment) -> None:
    """Refuse pools between which no KV cache can move.

    Raises:
        InputError: a system without a network, or networks of different kinds.
    """
    if len(deployment.pools) == 1 or deployment.kv_link is not None:
        return
    plans = [member.plan for pool in deployment.pools for member in pool.members]
    for plan in plans:
        link_of(plan, None)
    kinds = {plan.system.network.kind: plan.system.name for plan in plans if plan.system.network}
    if len(kinds) > 1:
        names = ", ".join(f"{name} on {kind}" for kind, name in sorted(kinds.items()))
        raise InputError(
            f"the pools share no fabric: {names}",
            hint="give the link between them, such as --kv-link 400Gb/s,5us",
        )


def kv_bytes(plan: Plan, tokens: int) -> int:
    """Bytes of the keys and values of so many tokens, all layers, once."""
    kv_bits = int(plan.bits[2])
    return -(-tokens * plan.model.kv_elements_per_token * kv_bits // 8)
