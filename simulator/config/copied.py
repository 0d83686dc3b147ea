"""Chip files that were copied from a shipped one and changed: its comparisons are not theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.config.config_files import Loaded, load_chip_file
from simulator.config.names import packaged_folder
from simulator.config.yaml_nodes import read_text

if TYPE_CHECKING:
    from simulator.config.chip_schema import ChipConfig
    from simulator.hardware import Chip

_ROW = "- {operator:"
"""How a line of the block ``validation`` begins in the shipped files."""


def is_changed_copy(loaded: Loaded[ChipConfig]) -> bool:
    """Whether a file has the comparisons of a shipped chip, and other values than every such chip.

    Names, prices and sources may differ: no time follows from them.
    """
    shipped = packaged_folder(Path("configs/chips"))
    if not loaded.config.validation or loaded.path.resolve().parent == shipped.resolve():
        return False
    own = _rows(loaded.path)
    origins = [path for path in sorted(shipped.glob("*.yaml")) if own and own <= _rows(path)]
    timed = [_timed(load_chip_file(path)) for path in origins]
    return bool(origins) and _timed(loaded) not in timed


def _rows(path: Path) -> set[str]:
    lines = (line.strip() for line in read_text(path).splitlines())
    return {line for line in lines if line.startswith(_ROW)}


def _timed(loaded: Loaded[ChipConfig]) -> tuple[Chip, dict[str, str]]:
    """What times follow from."""
    chip = loaded.config.build()
    plain = replace(chip, name="", price_usd_per_hour=None, price_basis=None, validation=())
    return plain, {str(name): file for name, file in loaded.config.libraries.items()}
