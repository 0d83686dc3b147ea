"""Options of ``chipsim run`` that say what serves: replicas, routers, pools, faults, scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from simulator.cli.layout_options import layout_options
from simulator.cli.options import (
    choice_option,
    dtype_options,
    engine_option,
    seed_option,
    set_option,
    tp_option,
)
from simulator.cli.values import OneOf, PathText, Positive, Whole

F = TypeVar("F", bound=Callable[..., Any])

SCHEDULERS = ("chunked", "prefill-first", "decode-first", "static", "no-evict")
ROUTERS = ("round-robin", "least-loaded", "prefix-aware", "power-of-two")
RETRIES = 10
"""As ``serving.pools.MOST_RETRIES``, which is not worth importing numpy for a help text."""


class Fraction(Positive):
    """A number from 0 to 1."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; its range is checked where it is used."""
        from simulator.cli.values import parse_number

        name = max(param.opts, key=len) if param is not None else "value"
        return parse_number(str(value), name, allow_zero=True)


_OPTIONS = (
    click.option(
        "--scenario",
        type=PathText(),
        metavar="FILE",
        help="Take everything from a scenario file; options beside it override it.",
    ),
    click.option("--replicas", type=Whole(), help="Copies of SYSTEM that share the requests."),
    choice_option(
        "--router",
        *ROUTERS,
        default="round-robin",
        help="Which replica gets a request.",
    ),
    click.option(
        "--prefill", metavar="SYSTEM[@LAYOUT]", help="Prefill pool; SYSTEM is left out then."
    ),
    click.option("--prefill-replicas", type=Whole(), help="Copies of it (default: 1)."),
    click.option("--decode", metavar="SYSTEM[@LAYOUT]", help="Decode pool."),
    click.option("--decode-replicas", type=Whole(), help="Copies of it (default: 1)."),
    click.option(
        "--kv-link",
        metavar="RATE[,LATENCY]",
        help="Each replica's link for KV caches, e.g. 400Gb/s,5us, or 'unlimited'.",
    ),
    click.option(
        "--disaggregate",
        metavar="always|never|uncached:TOKENS",
        default="always",
        show_default=True,
        help="Which prompts go to the prefill pool.",
    ),
    click.option(
        "--rebalance", metavar="TIME", help="Let replicas change pools, looked at this often."
    ),
    click.option(
        "--fail",
        "faults",
        metavar="FAULT",
        multiple=True,
        help="replica:2@30s, chip:5@1min,repair 60s, link:0@10s or mtbf:1h,repair 60s "
        "(repeatable).",
    ),
    choice_option(
        "--on-failure",
        "retry",
        "lose",
        default="retry",
        help="What happens to the requests of a replica that fails.",
    ),
    click.option(
        "--max-retries",
        type=Whole(least=0),
        default=RETRIES,
        show_default=True,
        help="Failures after which a request is lost.",
    ),
    engine_option,
    click.option(
        "--scheduler",
        type=OneOf(*SCHEDULERS),
        help="Who is in the next batch (default: the engine's, else chunked).",
    ),
    choice_option(
        "--preemption",
        "recompute",
        "swap",
        default="recompute",
        help="What happens to a sequence for which there are no KV blocks.",
    ),
    choice_option(
        "--prefix-cache",
        "on",
        "off",
        default="off",
        help="Keep the KV cache of prompts that begin alike.",
    ),
    click.option(
        "--watermark",
        type=Fraction(),
        default=0.0,
        help="Share of KV blocks kept free at admission.",
    ),
    click.option(
        "--kv-tier",
        "kv_tiers",
        metavar="host|pool:SIZE@RATE",
        multiple=True,
        help="Where KV goes when HBM is full, e.g. host:512GiB@50GB/s (repeatable).",
    ),
)


def serving_options(command: F) -> F:
    """All of them, in the order in which the help shows them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def deployment_options(command: F) -> F:
    """All of them but ``--scenario``."""
    for option in reversed(_OPTIONS[1:]):
        command = option(command)
    return command


def replay_options(command: F) -> F:
    """What is replayed, how the model is laid out, and how much goes into an iteration."""
    for option in (
        seed_option,
        set_option,
        click.option(
            "--token-budget",
            type=Whole(),
            default=8192,
            show_default=True,
            help="Most tokens of an iteration (chunked prefill).",
        ),
        click.option(
            "--max-batch", type=Whole(), default=256, show_default=True, help="Most sequences."
        ),
        dtype_options,
        layout_options,
        tp_option,
        click.option(
            "--limit",
            type=Whole(),
            metavar="N",
            help="The first N requests of a trace; of a workload N are drawn.",
        ),
        click.option(
            "--trace",
            type=PathText(),
            metavar="FILE",
            help="Replay the requests of a trace file instead.",
        ),
    ):
        command = option(command)
    return command
