"""Options of the commands that lay a model over chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cli.options import choice_option
from simulator.cli.values import Whole

if TYPE_CHECKING:
    from simulator.timing.layout_options import LayoutOptions

F = TypeVar("F", bound=Callable[..., Any])

EXPERT_NAMES = ("moe", "expert_load", "speculate")
LAYOUT_NAMES = ("tp", "pp", "ep", "dp", "sp", "layout", *EXPERT_NAMES)
"""What ``layout_options`` and ``--tp`` pass to a command."""


def expert_options(command: F) -> F:
    """How experts run, and speculation."""
    for option in (
        click.option(
            "--speculate",
            metavar="K:ACCEPTANCE",
            help="Draft K tokens a sequence, each accepted with a probability, e.g. 3:0.8.",
        ),
        click.option(
            "--expert-load",
            metavar="balanced|random[:SPREAD]|power:ALPHA|FILE",
            help="How the router loads the experts [default: the engine's, or balanced].",
        ),
        choice_option(
            "--moe",
            "sorted",
            "fused",
            default="sorted",
            help="Sort tokens by expert, or one fused operator.",
        ),
    ):
        command = option(command)
    return command


def layout_options(command: F) -> F:
    """Degrees of parallelism beside ``--tp``, a layout by name, and ``expert_options``."""
    command = expert_options(command)
    for option in (
        click.option(
            "--layout",
            metavar="FILE|auto",
            help="A layout file, a compact form such as tp8-ep64, or the fastest that fits.",
        ),
        click.option("--sp", type=Whole(), help="Chips that share the keys of each sequence."),
        click.option("--dp", type=Whole(), help="Ranks of a replica that share its sequences."),
        click.option("--ep", type=Whole(), help="Chips that share the experts."),
        click.option("--pp", type=Whole(), help="Pipeline stages that share the layers."),
    ):
        command = option(command)
    return command


def chosen_layout(options: Mapping[str, Any]) -> LayoutOptions:
    """The options as ``simulate`` and ``price_step`` take them.

    Raises:
        InputError: a layout beside degrees, or a speculation that cannot be read.
    """
    from simulator.timing.layout_options import LayoutOptions

    chosen = LayoutOptions(**{name: options[name] for name in LAYOUT_NAMES if name in options})
    assert chosen.speculation is not None
    return chosen
