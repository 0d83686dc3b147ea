"""What serves, from the options of ``chipsim run``: systems, pools, links, faults, scheduler."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.layout_options import LAYOUT_NAMES, chosen_layout
from simulator.cli.options import chosen_engine, overrides_for, resolve_dtypes, with_engine
from simulator.cli.values import parse_seconds, parse_whole
from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from simulator.model.transformer import Transformer
    from simulator.serving.options import KvTiers, ServingOptions
    from simulator.serving.pools import Deployment, KvLink
    from simulator.workload.request import Workload

POOLS = ("prefill", "decode")
POLICIES = ("always", "never", "uncached")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Copies of a system as the user names them."""

    system: str
    layout: str | None
    copies: int


def name_arguments(options: dict[str, Any], words: Sequence[str]) -> None:
    """Sort the words of the command line into system, model and workload.

    Raises:
        click.UsageError: too many, or pools that are named by half.
        InputError: an empty word.
    """
    pools = [name for name in POOLS if options[name] is not None]
    names = ["model", "workload"] if pools else ["system", "model", "workload"]
    if len(pools) == 1:
        other = "decode" if pools == ["prefill"] else "prefill"
        raise click.UsageError(f"--{pools[0]} needs --{other}")
    for name in POOLS:
        if options[f"{name}_replicas"] is not None and not pools:
            raise click.UsageError(f"--{name}-replicas needs --{name}")
    if pools and options["replicas"] is not None:
        raise click.UsageError("--replicas: pools have --prefill-replicas and --decode-replicas")
    if pools and len(words) > len(names):
        raise click.UsageError(
            f"--prefill and --decode name the systems: SYSTEM '{words[0]}' is to be left out"
        )
    if len(words) > len(names):
        raise click.UsageError(f"Got unexpected extra argument ({words[len(names)]})")
    for name in ("system", "model", "workload"):
        options[name] = None
    for name, word in zip(names, words, strict=False):
        if not word.strip():
            raise InputError(f"{name.upper()} is empty, expected a name or a file")
        options[name] = word


def check_complete(options: Mapping[str, Any]) -> None:
    """Refuse a command line that leaves out what serves, or which model.

    Raises:
        click.UsageError: an argument is missing.
    """
    named = options["system"] is not None or options["prefill"] is not None
    if not named and not options.get("members"):
        raise click.UsageError("Missing argument 'SYSTEM'.")
    if options["model"] is None:
        raise click.UsageError("Missing argument 'MODEL'.")


def wanted_pools(options: Mapping[str, Any]) -> dict[str, list[Wanted]]:
    """Which systems serve, by role.

    Raises:
        InputError: a system that has an empty name.
    """
    if options["prefill"] is not None:
        return {
            role: [_wanted(role, options[role], options[f"{role}_replicas"] or 1)] for role in POOLS
        }
    if options["system"] is not None:
        return {"serve": [Wanted(options["system"], None, options["replicas"] or 1)]}
    return {
        role: [Wanted(m.system, m.layout, m.replicas) for m in members]
        for role, members in options["members"].items()
    }


def _wanted(role: str, text: str, copies: int) -> Wanted:
    system, at, layout = text.rpartition("@")
    if not at:
        system, layout = text, ""
    if not system.strip() or (at and not layout.strip()):
        raise InputError(f"--{role}: found '{text[:60]}', expected SYSTEM or SYSTEM@LAYOUT")
    return Wanted(system, layout or None, copies)


def make_deployment(
    options: Mapping[str, Any], model: Transformer, workload: Workload
) -> Deployment:
    """Load and lay out the systems, and read how they are joined.

    Raises:
        InputError: unknown names and bad values.
        InfeasibleError: no layout fits.
    """
    from simulator.api import Servers, deploy
    from simulator.config.loader import load_system
    from simulator.serving.faults import parse_fault
    from simulator.timing.choices import Dtypes

    layout = chosen_layout(options)
    engine = chosen_engine(options["engine"], options["overrides"])
    pools = {}
    wanted = wanted_pools(options)
    if len(wanted) == 1:
        _refuse_options_of_pools(options)
    for role, members in wanted.items():
        loaded = []
        for member in members:
            system = load_system(member.system, _overrides(options["overrides"], role))
            system = with_engine(system, engine)
            own = layout
            if member.layout is not None:
                own = dataclasses.replace(
                    layout, layout=member.layout, tp=None, pp=None, ep=None, dp=None, sp=None
                )
            loaded.append(Servers(system, own, member.copies))
        pools[role] = loaded
    kinds = ("dtype", "weight_dtype", "activation_dtype", "kv_dtype")
    types = resolve_dtypes(*(options[kind] for kind in kinds))
    dtypes = Dtypes(types["weight_dtype"], types["activation_dtype"], types["kv_dtype"])
    found = deploy(model, pools, workload, dtypes=dtypes, max_batch=options["max_batch"])
    policy, tokens = parse_policy(options["disaggregate"])
    return dataclasses.replace(
        found,
        router=options["router"],
        kv_link=None if options["kv_link"] is None else parse_link(options["kv_link"]),
        disaggregate=policy,
        uncached_tokens=tokens,
        rebalance_ps=None if options["rebalance"] is None else _period(options["rebalance"]),
        faults=tuple(parse_fault(text) for text in options["faults"]),
        on_failure=options["on_failure"],
        max_retries=options["max_retries"],
    )


def _refuse_options_of_pools(options: Mapping[str, Any]) -> None:
    """Refuse what means nothing where each replica serves whole requests."""
    given = {
        "--kv-link": options["kv_link"] is not None,
        "--disaggregate": options["disaggregate"] != "always",
    }
    for name, used in given.items():
        if used:
            raise InputError(
                f"{name} needs a prefill and a decode pool",
                hint=f"leave {name} out, or name the pools with --prefill and --decode",
            )


def _overrides(overrides: Sequence[str], role: str) -> tuple[str, ...]:
    """Those for all systems, and those for the systems of one pool (``decode.chip.…``)."""
    own = overrides_for(overrides, role)
    return (
        *overrides_for(overrides, "system", "chip", "library"),
        *(text.strip().partition(".")[2] for text in own),
    )


def make_options(options: Mapping[str, Any]) -> ServingOptions:
    """How each replica serves.

    Raises:
        InputError: bad values.
    """
    from simulator.serving.options import ServingOptions

    speculation = chosen_layout(options).speculation
    return ServingOptions(
        max_batch=options["max_batch"],
        token_budget=options["token_budget"],
        warmup_s=options["warmup"],
        seed=options["seed"],
        record_iterations=options["timeline"] is not None,
        scheduler=chosen_scheduler(options),
        preemption=options["preemption"],
        prefix_cache=options["prefix_cache"] == "on",
        watermark=options["watermark"],
        speculate=speculation.drafts,
        acceptance=speculation.acceptance,
        tiers=parse_tiers(options["kv_tiers"]),
    )


def chosen_scheduler(options: Mapping[str, Any]) -> str:
    """``--scheduler``, else that of the engine, else ``chunked``.

    Raises:
        InputError: there is no engine of that name.
    """
    if options["scheduler"] is not None:
        return str(options["scheduler"])
    engine = chosen_engine(options["engine"], options["overrides"])
    return "chunked" if engine is None else engine.scheduler


def recorded_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest keeps of the command line: everything that can change the result."""
    kinds = ("dtype", "weight_dtype", "activation_dtype", "kv_dtype")
    names = ("max_batch", "token_budget", "seed", "limit", "rate_scale")
    serving = ("router", "disaggregate", "kv_link", "rebalance", "on_failure", "engine")
    more = ("max_retries", "preemption", "prefix_cache", "watermark")
    chosen = {name: options[name] for name in (*LAYOUT_NAMES, *names, *serving, *more)}
    chosen |= resolve_dtypes(*(options[kind] for kind in kinds))
    chosen |= {"scheduler": chosen_scheduler(options)}
    chosen |= {"warmup_s": options["warmup"], "set": list(options["overrides"])}
    chosen |= {"slo": list(options["slos"]), "fail": list(options["faults"])}
    chosen |= {"kv_tier": list(options["kv_tiers"])}
    chosen["pools"] = {
        role: [dataclasses.asdict(member) for member in members]
        for role, members in wanted_pools(options).items()
    }
    return chosen


def parse_link(text: str) -> KvLink:
    """``RATE[,LATENCY]`` or ``unlimited``; rates in bytes or, as network people do, in bits.

    Raises:
        InputError: neither, or a rate of zero.
    """
    from simulator.serving.pools import KvLink
    from simulator.units import parse_quantity

    rate, comma, latency = (part.strip() for part in text.partition(","))
    try:
        delay = parse_quantity(latency, "time") if comma else 0
        if rate == "unlimited":
            return KvLink(None, delay)
        size = parse_quantity(_in_bits(rate), "bandwidth")
    except InputError as error:
        hint = error.hint or "for example 400Gb/s,5us"
        raise InputError(f"--kv-link: {error.message}", hint=hint) from None
    if size == 0:
        raise InputError(f"--kv-link: '{text}' is zero, expected more than 0")
    return KvLink(size, delay)


def _in_bits(rate: str) -> str:
    """``400Gb/s`` and ``400Gbit/s`` as ``400Gbps``."""
    for ending in ("bit/s", "b/s"):
        if rate.endswith(ending):
            return rate.removesuffix(ending) + "bps"
    return rate


def parse_policy(text: str) -> tuple[str, int]:
    """``always``, ``never`` or ``uncached:TOKENS``.

    Raises:
        InputError: anything else.
    """
    policy, colon, tokens = text.strip().partition(":")
    if policy not in POLICIES or (policy == "uncached") != bool(colon):
        raise InputError(
            f"--disaggregate: found '{text[:60]}', expected always, never or uncached:TOKENS",
            hint=did_you_mean(policy, POLICIES),
        )
    if not colon:
        return policy, 0
    return policy, parse_whole(tokens, "--disaggregate uncached", least=0)


def parse_tiers(texts: Sequence[str]) -> KvTiers:
    """``host:SIZE@RATE`` and ``pool:SIZE@RATE``, the memory of one replica.

    Raises:
        InputError: another form, or a tier that is named twice.
    """
    from simulator.serving.options import KvTiers
    from simulator.units import parse_quantity

    found: dict[str, int] = {}
    for text in texts:
        name, _, rest = (part.strip() for part in text.partition(":"))
        size, at, rate = (part.strip() for part in rest.partition("@"))
        if name not in ("host", "pool") or not at:
            raise InputError(
                f"--kv-tier: found '{text[:60]}', expected host:SIZE@RATE or pool:SIZE@RATE",
                hint="for example host:512GiB@50GB/s",
            )
        if f"{name}_bytes" in found:
            raise InputError(f"--kv-tier: '{name}' is given twice")
        try:
            found[f"{name}_bytes"] = parse_quantity(size, "bytes")
            found[f"{name}_bytes_per_s"] = parse_quantity(_in_bits(rate), "bandwidth")
        except InputError as error:
            raise InputError(f"--kv-tier {text}: {error.message}", hint=error.hint) from None
    return KvTiers(**found)


def _period(text: str) -> int:
    seconds = parse_seconds(text, "--rebalance")
    if not 1e-3 <= seconds <= 1e6:
        raise InputError(f"--rebalance: found {text}, expected 1 ms to 1000000 s")
    return round(seconds * 1e12)
