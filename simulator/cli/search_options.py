"""Options and inputs of the commands that replay a workload many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cli.options import check_override_roots, overrides_for
from simulator.cli.serving_options import deployment_options, replay_options
from simulator.cli.values import NameText

if TYPE_CHECKING:
    from simulator.serving.results import RunResult
    from simulator.workload.request import Workload

F = TypeVar("F", bound=Callable[..., Any])


def search_options(command: F) -> F:
    """SYSTEM MODEL [WORKLOAD], a trace instead of it, and what serves and how, as in ``run``."""
    command = deployment_options(replay_options(command))
    words = click.argument("words", metavar="SYSTEM MODEL [WORKLOAD]", nargs=-1, type=NameText())
    return words(command)


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
    roots = ("chip", "system", "model", "workload", "prefill", "decode", "engine")
    check_override_roots(options["overrides"], roots)
    systems = [member.system for pool in wanted_pools(options).values() for member in pool]
    others = {name: options[name] for name in ("model", "workload", "trace", "engine")}
    return {"system": systems[0], **others}


def load_search(
    options: dict[str, Any],
) -> tuple[Callable[[Workload, int], RunResult], Workload]:
    """What replays (workload, copies of what serves), and the workload.

    Raises:
        InputError: unknown names, bad files or values.
        InfeasibleError: no layout fits.
    """
    from simulator.serving import compile_ahead

    compile_ahead.start()
    from simulator.api import server
    from simulator.cli.deployment import make_deployment, make_options
    from simulator.config.loader import load_model

    model = load_model(options["model"], overrides_for(options["overrides"], "model"))
    workload = load_workload_of(options)
    return server(make_deployment(options, model, workload), make_options(options)), workload


def load_workload_of(options: dict[str, Any]) -> Workload:
    """The workload or trace that the options name.

    Raises:
        InputError: unknown names, bad files or values.
    """
    from simulator.cli.traffic import load_traffic

    workload, _ = load_traffic(
        options["workload"],
        options["trace"],
        limit=options["limit"],
        seed=options["seed"],
        overrides=overrides_for(options["overrides"], "workload"),
    )
    return workload
