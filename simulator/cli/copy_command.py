"""``chipsim op copy``: the price of a copy inside the HBM of one chip, or of a file of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.options import (
    cases_option,
    check_override_roots,
    chip_option,
    format_option,
    set_option,
)
from simulator.cli.values import SizeCommand, parse_size
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.timing.results import CopyTiming


@click.command("copy", cls=SizeCommand)
@click.argument("size", metavar="[BYTES]", required=False)
@chip_option
@cases_option("columns bytes[,chip.PATH...]")
@set_option
@format_option
def copy(
    size: str | None,
    chip_name: str,
    cases_file: str | None,
    overrides: tuple[str, ...],
    output_format: str,
) -> None:
    """Price a copy of BYTES (plain, or with a unit) from HBM to HBM.

    As many bytes are written as are read; the bandwidth counts both, as memory benchmarks do.

    \b
    Examples:
      chipsim op copy 64MiB --chip tpu-v7x-die
      chipsim op copy --cases sizes.csv --chip h100 > priced.csv
    """
    if (size is None) == (cases_file is None):
        raise click.UsageError("give either BYTES or --cases FILE")
    check_override_roots(overrides, ("chip",))
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    if cases_file is not None:
        _price_cases(cases_file, chip_name, overrides, output_format)
        return
    assert size is not None
    count = parse_size(size, "BYTES")

    from simulator.api import price_copies
    from simulator.cli.output import emit_operator
    from simulator.report.accuracy import Evidence
    from simulator.report.copy_out import copy_json, print_copy

    timing = price_copies(chip, [count])[0]
    evidence = Evidence(chip, "copy", "bf16")
    emit_operator(output_format, copy_json(timing), lambda c: print_copy(timing, c), evidence)


def _price_cases(path: str, chip_name: str, overrides: tuple[str, ...], output_format: str) -> None:
    from simulator.api import price_copies
    from simulator.cases import kept_names, read_cases
    from simulator.cli.operator_cases import print_cases
    from simulator.cli.variant_columns import Variants
    from simulator.config.loader import load_chip
    from simulator.report.copy_out import copy_fields

    cases = read_cases(path, ("bytes",))
    at = cases.columns.index("bytes")
    sizes = []
    for row in cases.rows:
        try:
            sizes.append(parse_size(row[at].text, "bytes"))
        except InputError as error:
            raise InputError(error.message, location=row[at].location, hint=error.hint) from None

    def price(own: tuple[str, ...], of: list[int]) -> list[CopyTiming]:
        return price_copies(load_chip(chip_name, (*overrides, *own)), [sizes[row] for row in of])

    results = Variants(cases, ("chip",)).price(price)
    rows: list[dict[str, Any]] = []
    for cells, timing in zip(cases.rows, results, strict=True):
        outcome = copy_fields(timing)
        names = kept_names(cases.columns, outcome)
        given = {name: cell.text for name, cell in zip(names, cells, strict=True)}
        rows.append(given | outcome)
    print_cases("op.copy", load_chip(chip_name, overrides), rows, output_format)
