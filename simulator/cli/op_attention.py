"""``chipsim op attention``: the price of attention over a batch, or of every row of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.operator_cases import (
    count,
    joined_rows,
    one_or_cases,
    print_cases,
    read_operator_cases,
    whole,
    yes_no,
)
from simulator.cli.options import (
    DTYPES,
    cases_option,
    check_override_roots,
    chip_option,
    format_option,
    set_option,
)
from simulator.cli.values import OneOf, Whole

if TYPE_CHECKING:
    from simulator.hardware import Chip
    from simulator.timing.operator_timing import OperatorTiming

NEEDED = ("batch", "heads", "kv_heads", "head_dim", "context", "phase")


@click.command("attention", cls=OnceCommand)
@click.option("--batch", type=Whole(), help="Sequences.")
@click.option("--heads", type=Whole(), help="Query heads.")
@click.option("--kv-heads", type=Whole(), help="Key-value heads; must divide the query heads.")
@click.option("--head-dim", type=Whole(), help="Elements of one head.")
@click.option("--context", type=Whole(), help="Prompt length (prefill), cached tokens (decode).")
@click.option("--phase", type=OneOf("prefill", "decode"), help="Whole prompts, or one token each.")
@click.option("--window", type=Whole(), help="Keys that a query sees at most, itself included.")
@click.option("--dtype", type=OneOf(*DTYPES), default="bf16", show_default=True)
@click.option("--kv-dtype", type=OneOf(*DTYPES), help="Data type of the KV cache (default: dtype).")
@click.option(
    "--rotating-buffers",
    "buffers",
    type=Whole(least=0),
    default=0,
    show_default=True,
    help="Copies of the operands that a benchmark cycles through; 0: nothing is cached.",
)
@click.option(
    "--prefetch/--no-prefetch",
    default=True,
    show_default=True,
    help="Whether queries and the next block of keys are fetched ahead.",
)
@chip_option
@cases_option("columns batch,heads,kv_heads,head_dim,context,phase[,dtype,...][,chip.PATH...]")
@set_option
@format_option
def attention(
    chip_name: str,
    cases_file: str | None,
    overrides: tuple[str, ...],
    output_format: str,
    **given: Any,
) -> None:
    """Price grouped-query attention over a batch, fused and causal.

    With --cases, the rows of FILE come back as CSV with the results beside them.

    \b
    Examples:
      chipsim op attention --batch 64 --heads 32 --kv-heads 8 --head-dim 128 --context 4096 \\
          --phase decode --chip h100
      chipsim op attention --cases shapes.csv --chip h100 > priced.csv
    """
    check_override_roots(overrides, ("chip", "library"))
    one_or_cases(given, NEEDED, cases_file)
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    if cases_file is not None:
        _price_cases(cases_file, chip_name, overrides, given, output_format)
    else:
        _price_one(chip, given, output_format)


def _price_one(chip: Chip, given: dict[str, Any], form: str) -> None:
    from simulator.api import AttentionCase, price_attention
    from simulator.cli.output import emit_operator
    from simulator.report.accuracy import Evidence
    from simulator.report.op_table import print_operator
    from simulator.report.operator_json import operator_json

    result = price_attention(chip, AttentionCase(**given))
    evidence = Evidence(chip, f"attention-{given['phase']}", given["kv_dtype"] or given["dtype"])
    emit_operator(form, operator_json(result), lambda c: print_operator(result, c), evidence)


def _price_cases(
    path: str, chip_name: str, overrides: tuple[str, ...], given: dict[str, Any], form: str
) -> None:
    from simulator.api import AttentionCase, price_attentions
    from simulator.cli.variant_columns import Variants
    from simulator.config.loader import load_chip
    from simulator.timing.attention_operator import check_case

    chip = load_chip(chip_name, overrides)
    defaults = {name: value for name, value in given.items() if name not in NEEDED}
    table, cases = read_operator_cases(
        path,
        {name: str if name == "phase" else whole for name in NEEDED},
        {"dtype": str, "kv_dtype": str, "window": whole, "buffers": count, "prefetch": yes_no},
        lambda **cells: AttentionCase(**{**defaults, **cells}),
        lambda case: check_case(case, chip),
    )

    def price(own: tuple[str, ...], rows: list[int]) -> list[OperatorTiming]:
        variant = load_chip(chip_name, (*overrides, *own))
        return price_attentions(variant, [cases[row] for row in rows])

    results = Variants(table, ("chip", "library")).price(price)
    print_cases("op.attention", chip, joined_rows(table, results), form)
