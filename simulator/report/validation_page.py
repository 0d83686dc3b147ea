"""A validation as one HTML page: predicted against measured, and the worst rows with their inputs.

Everything is inline: the figures as JSON, the picture as SVG that a short script draws from them.
"""

from __future__ import annotations

import html
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.atomic import atomic_write
from simulator.report.json_out import plain
from simulator.report.validation_out import (
    FIGURES,
    LEGEND,
    TOTALS,
    figure_texts,
    total_name,
    total_texts,
)
from simulator.report.validation_script import SCRIPT, STYLE
from simulator.report.versions import chipsim_version

if TYPE_CHECKING:
    from simulator.validation.compare import Comparison, Row
    from simulator.validation.run import Validation

POINTS = 1500
"""Points of a picture; more would only cover one another. The worst rows are always among them."""

WORST = 60


def write_page(result: Validation, path: str | Path) -> None:
    """Write the page.

    Raises:
        InputError: the file cannot be written.
    """
    text = page(result)
    with atomic_write(path) as stream:
        stream.write(text)


def page(result: Validation) -> str:
    """The page as text."""
    data = json.dumps(plain({"plots": [_plot(item) for item in result.comparisons]}))
    data = data.replace("</", "<\\/")  # nothing in it may end the script element
    rows = "\n".join(
        _table_row(row, index)
        for index, item in enumerate(result.comparisons)
        for row in item.rows()
    )
    notes = [f"{item.text}." for item in result.omissions]
    notes += [f"{chip} {name}: not validated, no measured rows." for chip, name in result.missing]
    listed = "\n".join(f"<li>{html.escape(note)}</li>" for note in notes)
    heads = "".join(f"<th>{name}</th>" for name in WORDS)
    heads += "".join(f'<th class="n">{name}</th>' for name in FIGURES)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>chipsim: prices and measurements</title>
<style>{STYLE}</style></head><body>
<h1>Prices and measurements</h1>
<p>chipsim {html.escape(chipsim_version())}. Each point is one measured row; on the diagonal the
price is right, the dashed lines are 20 % off. Choose a table, or click it under <a
href="#errors">Errors by regime</a>; click a point or one of the worst rows to see its inputs and
the command that prices it. The arrow keys go through the worst rows, Enter opens a table.</p>
<div id="controls"><label>Table <select id="choice"></select></label>
<span id="summary"></span></div>
<div id="view"><svg id="plot" viewBox="0 0 640 560" role="img" aria-label="predicted against
measured time"></svg><div id="side"><h2>Chosen row</h2>
<div id="chosen" aria-live="polite">none</div>
<h2>Worst rows</h2><div id="worst"></div></div></div>
<h2>Errors by regime, %</h2>
<table id="errors"><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table>
{_totals(result)}<p class="legend">{html.escape(LEGEND)} Regimes by the time of that roofline:
launch below 5 us; then by the ratio of arithmetic to traffic, memory below a half, compute above
two, transitional between.</p>
<h2>Left out</h2><ul>{listed or "<li>nothing</li>"}</ul>
<script type="application/json" id="data">{data}</script>
<script>{SCRIPT}</script></body></html>
"""


def _totals(result: Validation) -> str:
    """The errors over several tables; nothing where there is only one."""
    sums = result.totals()
    if not sums:
        return ""
    heads = "".join(f"<th>{name}</th>" for name in TOTALS[:3])
    heads += "".join(f'<th class="n">{name}</th>' for name in TOTALS[3:])
    rows = []
    for line in sums:
        cells = [f"<td>{html.escape(word)}</td>" for word in (line.operator, *total_name(line))]
        cells += [f'<td class="n">{text}</td>' for text in total_texts(line)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"""<h2>All tables together, %</h2>
<table id="totals"><thead><tr>{heads}</tr></thead><tbody>
{chr(10).join(rows)}
</tbody></table>
"""


WORDS = ("chip", "operator", "dtype", "table", "regime")


def _plot(item: Comparison) -> dict[str, Any]:
    """What the script needs of one table: its points, those of the worst rows first."""
    table = item.table
    # a price that is far too low is as bad as one that is far too high
    badness = np.abs(np.log(item.predicted_s / table.measured_s))
    worst = np.argsort(-badness, kind="stable")
    rest = worst[WORST:]
    if len(rest) > POINTS - WORST:
        rest = np.random.default_rng(0).permutation(rest)[: POINTS - WORST]
    chosen = np.concatenate([worst[:WORST], rest])
    names = list(table.inputs)
    columns = [table.inputs[name][chosen].tolist() for name in names]
    whole = item.rows()[0].errors
    return {
        "name": f"{table.chip} {table.operator} {table.dtype}, {table.source}",
        "chip": table.chip,
        "machine": shlex.quote(item.machine or table.chip),
        "settings": [shlex.quote(setting) for setting in item.overrides],
        "operator": table.operator,
        "dtype": table.dtype,
        "count": len(table),
        "mape": round(whole.mape_percent, 2),
        "worst": min(WORST, len(table)),
        "names": names,
        "inputs": [list(row) for row in zip(*columns, strict=True)],
        "measured": [float(f"{value:.6g}") for value in table.measured_s[chosen]],
        "predicted": [float(f"{value:.6g}") for value in item.predicted_s[chosen]],
        "regime": item.regimes[chosen].tolist(),
    }


def _table_row(row: Row, plot: int) -> str:
    """A line of the table of errors; a click on it shows plot number ``plot``."""
    words = [row.chip, row.operator, row.dtype, row.table, row.regime]
    cells = [f"<td>{html.escape(word)}</td>" for word in words]
    cells += [f'<td class="n">{text}</td>' for text in figure_texts(row)]
    kind = ' class="whole"' if row.regime == "all" else ""
    return f'<tr{kind} data-plot="{plot}" tabindex="0">{"".join(cells)}</tr>'
