"""Options and inputs of the commands that replay a workload many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cli.layout_options import layout_options
from simulator.cli.options import (
    check_override_roots,
    dtype_options,
    overrides_for,
    set_option,
    tp_option,
)
from simulator.cli.serving_options import deployment_options
from simulator.cli.values import NameText, PathText, Whole

if TYPE_CHECKING:
    from simulator.serving.results import RunResult
    from simulator.workload.request import Workload

F = TypeVar("F", bound=Callable[..., Any])


def search_options(command: F) -> F:
    """SYSTEM MODEL [WORKLOAD], a trace instead of it, and what serves and how, as in ``run``."""
    for option in (
        click.option("--seed", type=Whole(0, 2**63 - 1), default=0, show_default=True),
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
        click.option("--limit", type=Whole(), help="Replay only the first so many requests."),
        click.option(
            "--trace",
            type=PathText(),
            metavar="FILE",
            help="Replay the requests of a trace file instead.",
        ),
        deployment_options,
        click.argument("words", metavar="SYSTEM MODEL [WORKLOAD]", nargs=-1, type=NameText()),
    ):
        command = option(command)
    return command


def name_inputs(options: dict[str, Any], words: tuple[str, ...]) -> dict[str, str | None]:
    """Sort the words into ``options``; returns the names of what the command reads.

    Raises:
        click.UsageError: an argument too few or too many.
    """
    from simulator.cli.deployment import check_complete, name_arguments, wanted_pools

    options |= {"warmup": 0.0, "timeline": None, "members": None}
    name_arguments(options, words)
    check_complete(options)
    if options["workload"] is not None and options["trace"] is not None:
        raise click.UsageError("give either WORKLOAD or --trace FILE, not both")
    roots = ("chip", "system", "model", "workload", "prefill", "decode")
    check_override_roots(options["overrides"], roots)
    systems = [member.system for pool in wanted_pools(options).values() for member in pool]
    return {"system": systems[0], **{k: options[k] for k in ("model", "workload", "trace")}}


def load_search(
    options: dict[str, Any],
) -> tuple[Callable[[Workload, int], RunResult], Workload]:
    """What replays (workload, copies of what serves), and the workload.

    Raises:
        InputError: unknown names, bad files or values.
        InfeasibleError: no layout fits.
    """
    from simulator.api import server
    from simulator.cli.deployment import make_deployment, make_options
    from simulator.cli.traffic import load_traffic
    from simulator.config.loader import load_model

    overrides = options["overrides"]
    model = load_model(options["model"], overrides_for(overrides, "model"))
    workload, _ = load_traffic(
        options["workload"],
        options["trace"],
        limit=options["limit"],
        seed=options["seed"],
        overrides=overrides_for(overrides, "workload"),
    )
    return server(make_deployment(options, model, workload), make_options(options)), workload
