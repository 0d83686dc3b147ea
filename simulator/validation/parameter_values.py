"""Which parameters the file of a chip or system can have, and the values that it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from simulator.config.config_files import Loaded, load_chip_file, load_system_file
from simulator.config.names import find_config
from simulator.config.overrides import parse_overrides
from simulator.errors import ChipsimError
from simulator.validation.parameter import SCALES, Parameter
from simulator.validation.parameters import PARAMETERS


def applicable(name: str, operators: Iterable[str], overrides: tuple[str, ...]) -> list[Parameter]:
    """The parameters that the file of a chip or its system can have, for these operators."""
    wanted = set(operators)
    return [
        parameter
        for parameter in PARAMETERS
        if wanted & set(parameter.operators) and _fits(parameter, name, overrides)
    ]


def current(parameter: Parameter, name: str, overrides: tuple[str, ...]) -> float | None:
    """The value in the file (or its default) in the parameter's unit; None where there is none."""
    value: Any = _file(parameter, name, overrides).config
    for key in parameter.path.split(".")[1:]:
        value = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        if value is None:
            return None
    if isinstance(value, BaseModel | str | list):
        return None
    return float(value) / SCALES[parameter.unit]


def _file(parameter: Parameter, name: str, overrides: tuple[str, ...]) -> Loaded[Any]:
    given = parse_overrides(overrides)
    if parameter.root == "chip":
        return load_chip_file(find_config("chips", name), given)
    return load_system_file(name, given).system


def _stated(parameter: Parameter, name: str, overrides: tuple[str, ...]) -> bool:
    """Whether the file itself has the value, and not only its schema a default."""
    path = parameter.path.partition(".")[2]
    return path in _file(parameter, name, overrides).sourced.provenance


def _fits(parameter: Parameter, name: str, overrides: tuple[str, ...]) -> bool:
    """Whether the file is still valid with this parameter set."""
    middle = (parameter.low * parameter.high) ** 0.5
    try:
        if parameter.must_exist and not _stated(parameter, name, overrides):
            return False
        given = parse_overrides((*overrides, parameter.override(middle)))
        if parameter.root == "system":
            load_system_file(name, given).build()
            return True
        chip = load_chip_file(find_config("chips", name), given).config.build()
    except ChipsimError:
        return False
    return parameter.kind is None or type(chip.matrix).__name__ == parameter.kind
