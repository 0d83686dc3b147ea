"""``chipsim op copy``: the price of a copy inside the HBM of one chip, or of a file of them."""

from __future__ import annotations

from typing import Any

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


@click.command("copy", cls=SizeCommand)
@click.argument("size", metavar="[BYTES]", required=False)
@chip_option
@cases_option("a column bytes")
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
        _price_cases(cases_file, chip, output_format)
        return
    assert size is not None
    count = parse_size(size, "BYTES")

    from simulator.api import price_copies
    from simulator.cli.output import emit
    from simulator.report.copy_out import copy_json, print_copy

    timing = price_copies(chip, [count])[0]
    emit(output_format, copy_json(timing), lambda console: print_copy(timing, console))


def _price_cases(path: str, chip: Any, output_format: str) -> None:
    from simulator.api import price_copies
    from simulator.cases import read_cases
    from simulator.cli.operator_cases import print_cases
    from simulator.report.copy_out import copy_fields

    cases = read_cases(path, ("bytes",))
    at = cases.columns.index("bytes")
    sizes = []
    for row in cases.rows:
        try:
            sizes.append(parse_size(row[at].text, "bytes"))
        except InputError as error:
            raise InputError(error.message, location=row[at].location, hint=error.hint) from None
    rows: list[dict[str, Any]] = []
    for cells, timing in zip(cases.rows, price_copies(chip, sizes), strict=True):
        outcome = copy_fields(timing)
        given = {
            f"input_{name}" if name in outcome else name: cell.text
            for name, cell in zip(cases.columns, cells, strict=True)
        }
        rows.append(given | outcome)
    print_cases("op.copy", chip, rows, output_format)
