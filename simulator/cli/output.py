"""The answer on stdout: one JSON object, or tables for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.report.explain import Explanation


def emit(
    output_format: str,
    document: dict[str, Any],
    print_tables: Callable[[Console], None],
    explanations: Sequence[Explanation] = (),
) -> None:
    """Print a result as ``json`` or ``table``; explanations follow in either form."""
    if output_format == "json":
        from simulator.report.json_out import to_json

        reasons = {"explain": [item.as_json() for item in explanations]} if explanations else {}
        click.echo(to_json({**document, **reasons}))
        return
    from simulator.report.console import make_console
    from simulator.report.explain import explanations_text

    console = make_console()
    print_tables(console)
    if explanations:
        click.echo("\n" + explanations_text(explanations))
