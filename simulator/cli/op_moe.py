"""``chipsim op moe``: the price of a layer of routed experts, or of every row of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.operator_cases import (
    joined_rows,
    one_or_cases,
    print_cases,
    read_operator_cases,
    whole,
    yes_no,
)
from simulator.cli.options import (
    MATMUL_DTYPES,
    WEIGHT_DTYPES,
    cases_option,
    check_override_roots,
    choice_option,
    format_option,
    set_option,
)
from simulator.cli.values import NameText, OneOf, Whole
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.api import MoeCase
    from simulator.hardware import Chip
    from simulator.timing.operator_timing import OperatorTiming

NEEDED = ("tokens", "hidden", "intermediate", "experts", "top_k")


@click.command(
    "moe", cls=OnceCommand, short_help="Price a layer of routed experts on its busiest chip."
)
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
    metavar="balanced|random[:SPREAD]|power:ALPHA|FILE",
    help="How unevenly tokens are routed; FILE has one load a line for each expert.",
)
@choice_option(
    "--moe",
    "sorted",
    "fused",
    default="sorted",
    help="Sort, exchange, grouped matmuls, exchange back; or one fused kernel.",
)
@click.option("--dtype", type=OneOf(*MATMUL_DTYPES), default="bf16", show_default=True)
@click.option(
    "--weight-dtype", type=OneOf(*WEIGHT_DTYPES), help="Type of the weights (default: dtype)."
)
@click.option(
    "--blocks", is_flag=True, help="Operands of 8 bits have scales in blocks, as DeepSeek's."
)
@choice_option(
    "--kernels",
    "usual",
    "triton",
    "cutlass",
    "trtllm",
    "marlin",
    "openai",
    default="usual",
    help="Library of the matmuls on a GPU; usual is what an engine takes.",
)
@click.option(
    "--chip",
    "chip_name",
    type=NameText(),
    metavar="CHIP",
    required=True,
    help="Name or file of a chip; with --ep the name of a system too.",
)
@cases_option(
    "columns tokens,hidden,intermediate,experts,top_k[,ep,expert_load,...][,chip.PATH...]"
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
    check_override_roots(overrides, ("chip", "library"))
    one_or_cases(given, NEEDED, cases_file)
    if cases_file is not None:
        _price_cases(cases_file, chip_name, given, overrides, output_format)
    else:
        _price_one(chip_name, given, overrides, output_format)


def _price_one(
    chip_name: str, given: dict[str, Any], overrides: tuple[str, ...], form: str
) -> None:
    from dataclasses import replace

    from simulator.api import MoeCase, price_moes
    from simulator.cli.output import emit_operator
    from simulator.config.loader import load_chip
    from simulator.hardware.fused_kernels import USUAL
    from simulator.report.accuracy import Evidence, expert_form
    from simulator.report.op_table import print_operator
    from simulator.report.operator_json import operator_json

    case = MoeCase(**given)
    # a library that costs what the usual one does is the usual one
    both = [case, replace(case, kernels=USUAL)]
    result, usual = price_moes(chip_name, both, overrides=overrides)
    evidence = Evidence(
        load_chip(chip_name, overrides),
        "moe",
        case.dtype,
        expert_form(case.dtype, case.weight_dtype or case.dtype, case.blocks),
        "" if result.cycles == usual.cycles else case.kernels,
    )
    emit_operator(form, operator_json(result), lambda c: print_operator(result, c), evidence)


def _check(case: MoeCase, chip: Chip) -> None:
    """Refuse a bad case, its load of experts included, while its place in the file is known."""
    from simulator.timing.expert_load import parse_expert_load
    from simulator.timing.moe_case import check_case

    check_case(case, chip)
    try:
        parse_expert_load(case.expert_load, case.experts, case.ep, case.tokens, case.top_k)
    except InputError as error:
        # names the column that it stands in; a histogram's own file has said its place
        message = error.message if error.location else f"expert_load: {error.message}"
        raise InputError(message, location=error.location, hint=error.hint) from None


def _price_cases(
    path: str, chip_name: str, given: dict[str, Any], overrides: tuple[str, ...], form: str
) -> None:
    from simulator.api import MoeCase, price_moes
    from simulator.cli.variant_columns import Variants
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    defaults = {name: value for name, value in given.items() if name not in NEEDED}
    words = ("expert_load", "dtype", "weight_dtype", "moe", "kernels")
    table, cases = read_operator_cases(
        path,
        dict.fromkeys(NEEDED, whole),
        {"ep": whole, "blocks": yes_no, **dict.fromkeys(words, str)},
        lambda **cells: MoeCase(**{**defaults, **cells}),
        lambda case: _check(case, chip),
    )

    def price(own: tuple[str, ...], rows: list[int]) -> list[OperatorTiming]:
        some = [cases[row] for row in rows]
        return price_moes(chip_name, some, overrides=(*overrides, *own))

    results = Variants(table, ("chip", "library")).price(price)
    print_cases("op.moe", chip, joined_rows(table, results), form)
