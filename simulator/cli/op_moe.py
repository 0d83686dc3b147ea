"""``chipsim op moe``: the price of a layer of routed experts, or of every row of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.options import (
    DTYPES,
    WEIGHT_DTYPES,
    check_override_roots,
    format_option,
    set_option,
)
from simulator.cli.values import NameText, OneOf, PathText, Whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.api import MoeCase
    from simulator.cli.operator_cases import Parser
    from simulator.hardware import Chip
    from simulator.timing.operator_timing import OperatorTiming

NEEDED = ("tokens", "hidden", "intermediate", "experts", "top_k")


@click.command("moe")
@click.option("--tokens", type=Whole(), help="Tokens of the batch, over all chips of the group.")
@click.option("--hidden", type=Whole(), help="Width of the residual stream.")
@click.option("--intermediate", type=Whole(), help="Width inside one expert.")
@click.option("--experts", type=Whole(), help="Routed experts of the layer.")
@click.option("--top-k", type=Whole(), help="Experts that each token goes to.")
@click.option(
    "--ep", type=Whole(), default=1, show_default=True, help="Chips that share the experts."
)
@click.option(
    "--expert-load",
    type=NameText(),
    default="balanced",
    show_default=True,
    metavar="balanced|power:ALPHA|FILE",
    help="How unevenly tokens are routed; FILE has one load a line for each expert.",
)
@click.option(
    "--moe",
    type=OneOf("sorted", "fused"),
    default="sorted",
    show_default=True,
    help="Sort, exchange, grouped matmuls, exchange back; or one fused kernel.",
)
@click.option("--dtype", type=OneOf(*DTYPES), default="bf16", show_default=True)
@click.option(
    "--weight-dtype", type=OneOf(*WEIGHT_DTYPES), help="Type of the weights (default: dtype)."
)
@click.option(
    "--chip",
    "chip_name",
    type=NameText(),
    metavar="CHIP",
    required=True,
    help="Name or file of a chip; with --ep the name of a system too.",
)
@click.option(
    "--cases",
    "cases_file",
    type=PathText(),
    metavar="FILE",
    help="CSV with columns tokens,hidden,intermediate,experts,top_k[,ep,expert_load,...].",
)
@set_option
@format_option
def moe(
    chip_name: str,
    cases_file: str | None,
    overrides: tuple[str, ...],
    output_format: str,
    **given: Any,
) -> None:
    """Price a layer of routed experts with dispatch and combine, on its busiest chip.

    With --cases, the rows of FILE come back as CSV with the results beside them.

    \b
    Examples:
      chipsim op moe --tokens 4096 --hidden 7168 --intermediate 2048 --experts 256 --top-k 8 \\
          --ep 8 --expert-load power:1.2 --moe fused --chip h100
      chipsim op moe --cases layers.csv --chip h100 > priced.csv
    """
    check_override_roots(overrides, ("chip",))
    missing = [f"--{name.replace('_', '-')}" for name in NEEDED if given[name] is None]
    if cases_file is None and missing:
        raise click.UsageError(f"missing {', '.join(missing)}; or give --cases FILE")
    if cases_file is not None and len(missing) < len(NEEDED):
        raise click.UsageError("give either the sizes of one case or --cases FILE")
    if cases_file is not None:
        _price_cases(cases_file, chip_name, given, overrides, output_format)
    else:
        _price_one(chip_name, given, overrides, output_format)


def _price(
    chip_name: str, cases: Sequence[MoeCase], overrides: tuple[str, ...]
) -> list[OperatorTiming]:
    """Experts on several chips are connected as in the system of the chip's name."""
    from simulator.api import price_moes
    from simulator.config.loader import load_chip, load_group

    chip = load_chip(chip_name, overrides)
    if all(case.ep == 1 for case in cases):
        return price_moes(chip, cases)
    results: dict[int, OperatorTiming] = {}
    for ep in sorted({case.ep for case in cases}):
        of_group = [i for i, case in enumerate(cases) if case.ep == ep]
        fabric = load_group(chip_name, ep, overrides) if ep > 1 else None
        priced = price_moes(chip, [cases[i] for i in of_group], fabric)
        results |= dict(zip(of_group, priced, strict=True))
    return [results[i] for i in range(len(cases))]


def _price_one(
    chip_name: str, given: dict[str, Any], overrides: tuple[str, ...], form: str
) -> None:
    from simulator.api import MoeCase
    from simulator.cli.output import emit
    from simulator.report.json_out import operator_json
    from simulator.report.op_table import print_operator

    result = _price(chip_name, [MoeCase(**given)], overrides)[0]
    emit(form, operator_json(result), lambda console: print_operator(result, console), [])


def _check(case: MoeCase, chip: Chip) -> None:
    """Refuse a bad case, its load of experts included, while its place in the file is known."""
    from simulator.timing.expert_load import parse_expert_load
    from simulator.timing.moe_operator import check_case

    check_case(case, chip)
    parse_expert_load(case.expert_load, case.experts, case.ep, case.tokens, case.top_k)


def _price_cases(
    path: str, chip_name: str, given: dict[str, Any], overrides: tuple[str, ...], form: str
) -> None:
    from simulator.api import MoeCase
    from simulator.cli.matmul_cases import to_csv
    from simulator.cli.operator_cases import joined_rows, read_operator_cases, whole
    from simulator.config.loader import load_chip
    from simulator.report.json_out import to_json

    chip = load_chip(chip_name, overrides)
    defaults = {name: value for name, value in given.items() if name not in NEEDED}
    required = dict.fromkeys(NEEDED, whole)
    optional: dict[str, Parser] = {
        "ep": whole,
        "expert_load": str,
        "dtype": str,
        "weight_dtype": str,
        "moe": str,
    }
    table, cases = read_operator_cases(
        path,
        required,
        optional,
        lambda **cells: MoeCase(**{**defaults, **cells}),
        lambda case: _check(case, chip),
    )
    rows = joined_rows(table, _price(chip_name, cases, overrides))
    if form == "json":
        schema = "chipsim.op.moe.cases/1"
        click.echo(to_json({"schema": schema, "chip": chip.name, "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)
