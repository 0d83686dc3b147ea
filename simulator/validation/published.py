"""Points that makers published, shipped as small CSV files in ``configs/measurements``.

The first lines of a file are comments with its sources.
"""

from __future__ import annotations

from pathlib import Path

from simulator.config.names import packaged_folder
from simulator.hardware import Chip
from simulator.validation.files import read_tables
from simulator.validation.operators import find_operator
from simulator.validation.table import Table


def _files() -> list[Path]:
    return sorted(packaged_folder(Path("configs") / "measurements").glob("*.csv"))


def chips() -> list[str]:
    """Chips of which there are published points; ``CHIP.OPERATOR.csv`` names both."""
    return sorted({path.name.split(".")[0] for path in _files()})


def load_tables(chip: Chip, operator: str) -> list[Table]:
    """The published points of one chip and operator by data type."""
    found = []
    for path in _files():
        if path.name == f"{chip.name}.{operator}.csv":
            found += read_tables(str(path), chip, find_operator(operator))
    return found
