"""The files that a scenario names, loaded while the place of each name is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.config.loader import load_any_model, load_engine, load_system, load_workload
from simulator.config.scenario_schema import Scenario
from simulator.errors import InputError, Location

_LOADERS: dict[str, Callable[[str], Any]] = {
    "system": load_system,
    "model": load_any_model,
    "workload": load_workload,
    "engine": load_engine,
}


def check_name(key: str, name: str, place: Location) -> None:
    """Load what a key of a scenario names; other keys name nothing.

    Raises:
        InputError: there is none of that name, at ``place``, or its file is bad, at the fault.
    """
    load = _LOADERS.get(key)
    if load is None:
        return
    try:
        load(name)
    except InputError as error:
        raise InputError(error.message, location=error.location or place, hint=error.hint) from None


def check_systems(scenario: Scenario) -> None:
    """Load the systems of all roles.

    Raises:
        InputError: as ``check_name``.
    """
    for role, members in scenario.members.items():
        for member, place in zip(members, scenario.places[role], strict=True):
            check_name("system", member.system, place)


def check_names(scenario: Scenario) -> None:
    """Load all that a scenario names.

    Raises:
        InputError: as ``check_name``.
    """
    check_systems(scenario)
    for key, setting in scenario.settings.items():
        if isinstance(setting.text, str):
            check_name(key, setting.text, setting.location)
