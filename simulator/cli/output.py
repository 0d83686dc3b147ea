"""The answer on stdout: one JSON object, or tables for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.report.accuracy import Evidence
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


def emit_operator(
    output_format: str,
    document: dict[str, Any],
    print_tables: Callable[[Console], None],
    evidence: Evidence,
    explanations: Sequence[Explanation] = (),
) -> None:
    """As ``emit``, with what the price of an operator rests on."""
    from simulator.report.accuracy import accuracy_json
    from simulator.report.console import show

    def print_all(console: Console) -> None:
        print_tables(console)
        show(console, f"\n{evidence.line()}")

    found = {**document, "accuracy": accuracy_json(evidence.entries())}
    emit(output_format, found, print_all, explanations)
