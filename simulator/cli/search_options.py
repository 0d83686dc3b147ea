"""Options and inputs of the commands that replay a workload many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cli.options import (
    check_override_roots,
    dtype_options,
    overrides_for,
    resolve_dtypes,
    set_option,
    tp_option,
)
from simulator.cli.values import NameText, PathText, Whole

if TYPE_CHECKING:
    from simulator.serving.results import RunResult
    from simulator.workload.request import Workload

F = TypeVar("F", bound=Callable[..., Any])


def search_options(command: F) -> F:
    """SYSTEM MODEL [WORKLOAD], the trace instead of it, and how a replica serves."""
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
        tp_option,
        click.option("--limit", type=Whole(), help="Replay only the first so many requests."),
        click.option(
            "--trace",
            type=PathText(),
            metavar="FILE",
            help="Replay the requests of a trace file instead.",
        ),
        click.argument("workload", metavar="[WORKLOAD]", required=False, type=NameText()),
        click.argument("model", metavar="MODEL", type=NameText()),
        click.argument("system", metavar="SYSTEM", type=NameText()),
    ):
        command = option(command)
    return command


def load_search(
    options: dict[str, Any],
) -> tuple[Callable[[Workload, int], RunResult], Workload]:
    """What replays (workload, copies of the system), and the workload.

    Raises:
        InputError: unknown names, bad files or values.
    """
    from simulator.api import LayoutOptions, server
    from simulator.cli.traffic import load_traffic
    from simulator.config.loader import load_model, load_system

    if options["workload"] is not None and options["trace"] is not None:
        raise click.UsageError("give either WORKLOAD or --trace FILE, not both")
    overrides = options["overrides"]
    check_override_roots(overrides, ("chip", "system", "model", "workload"))
    system = load_system(options["system"], overrides_for(overrides, "system", "chip"))
    model = load_model(options["model"], overrides_for(overrides, "model"))
    workload, _ = load_traffic(
        options["workload"],
        options["trace"],
        limit=options["limit"],
        seed=options["seed"],
        overrides=overrides_for(overrides, "workload"),
    )
    kinds = ("dtype", "weight_dtype", "activation_dtype", "kv_dtype")
    dtypes: dict[str, Any] = {**resolve_dtypes(*(options[kind] for kind in kinds))}
    serve = server(
        system,
        model,
        layout=LayoutOptions(tp=options["tp"]),
        max_batch=options["max_batch"],
        token_budget=options["token_budget"],
        seed=options["seed"],
        **dtypes,
    )
    return serve, workload
