"""A scenario file's values in the place of options that the command line does not give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.errors import InputError, Location

if TYPE_CHECKING:
    from simulator.config.scenario_schema import Scenario, Setting

_NAMES = {
    "fail": "faults",
    "slo": "slos",
    "set": "overrides",
    "kv_tier": "kv_tiers",
}
"""Keys of a scenario whose option is called otherwise inside."""

_POOLS = ("prefill", "decode", "prefill_replicas", "decode_replicas")


def apply_scenario(options: dict[str, Any], context: click.Context) -> None:
    """Fill ``options`` from the file that ``--scenario`` names, if it does.

    Where the command line says what serves, the file's systems and pools do not count.

    Raises:
        InputError: a fault of the file, with its place.
    """
    if options["scenario"] is None:
        return
    from simulator.config.scenario_names import check_systems
    from simulator.config.scenario_schema import load_scenario

    scenario = load_scenario(options["scenario"])
    given = {name for name in options if _is_given(context, name)}
    if "trace" in given or options["workload"] is not None:
        given |= {"trace", "workload"}
    if options["system"] is not None or given & set(_POOLS):
        given |= {"system", *_POOLS}
        if options["system"] is not None:
            given |= {"disaggregate", "kv_link", "rebalance"}
    else:
        options["members"] = scenario.members
        check_systems(scenario)
    for key, setting in scenario.settings.items():
        name = _NAMES.get(key, key)
        if name not in given and (name != "model" or options["model"] is None):
            options[name] = _converted(context, name, setting)
    _degrees_or_layout(options, given, scenario)


def _is_given(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT", "PROMPT")


def _degrees_or_layout(options: dict[str, Any], given: set[str], scenario: Scenario) -> None:
    """A layout or degrees of the command line take the place of both in the file."""
    degrees = {"tp", "pp", "ep", "dp", "sp"}
    if "layout" in given or given & degrees:
        for name in ({"layout"} | degrees) - given:
            if name in scenario.settings:
                options[name] = None


def _converted(context: click.Context, name: str, setting: Setting) -> Any:
    """A value as the command line would read it; errors say where it stands."""
    from simulator.config.scenario_names import check_name

    param = next((p for p in context.command.params if p.name == name), None)
    if isinstance(setting.text, str):
        check_name(name, setting.text, setting.location)
    if param is None or name in ("system", "model", "workload"):
        return setting.text

    def read(text: str, place: Location, *, in_list: bool) -> Any:
        try:
            _check(name, (text,) if in_list else text)
            return param.type.convert(text, param, context)
        except InputError as error:
            raise InputError(error.message, location=place, hint=error.hint) from None

    if isinstance(setting.text, str):
        return read(setting.text, setting.location, in_list=False)
    items = zip(setting.text, setting.places, strict=True)
    values = tuple(read(text, place, in_list=True) for text, place in items)
    try:
        _check(name, values)  # what they are together
    except InputError as error:
        raise InputError(error.message, location=setting.location, hint=error.hint) from None
    return values


def _check(name: str, value: Any) -> None:
    """Read what is read only later from the command line, while its place is known.

    Raises:
        InputError: it cannot be read.
    """
    from simulator.cli import deployment

    if name == "kv_link":
        deployment.parse_link(value)
    elif name == "disaggregate":
        deployment.parse_policy(value)
    elif name == "kv_tiers":
        deployment.parse_tiers(value)
    elif name == "faults":
        from simulator.serving.faults import parse_fault

        for text in value:
            parse_fault(text)
