"""What ``config show`` and ``config check`` need: resolved values with unit and source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from simulator.config.config_files import (
    Loaded,
    LoadedSystem,
    kind_of_file,
    load_chip_file,
    load_model_file,
    load_system_file,
)
from simulator.config.fields import Quantity
from simulator.config.library_files import check_chip, load_library_file
from simulator.config.names import (
    KINDS,
    find_config,
    is_file,
    list_names,
    looks_like_path,
    plural,
    singular,
)
from simulator.config.overrides import parse_overrides
from simulator.config.provenance import Provenance, unwrap
from simulator.config.shapes import shape_text
from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_yaml, read_text
from simulator.errors import InputError, did_you_mean
from simulator.hardware import Chip
from simulator.units import format_bytes, format_rate, format_time

DEFAULT = Provenance(source="default")
COMPUTED = Provenance(source="computed", confidence="derived")


@dataclass(frozen=True, slots=True)
class Row:
    """One resolved value: in base units with its unit, and as the file writes it."""

    path: str
    value: Any
    unit: str
    text: str
    source: str | None
    confidence: str | None


@dataclass(frozen=True, slots=True)
class Description:
    """A named configuration; ``kind`` is one of chip, system, model, workload, memory, engine,
    library."""

    kind: str
    name: str
    file: str
    rows: tuple[Row, ...]


def describe(name: str, kind: str | None = None, overrides: Iterable[str] = ()) -> Description:
    """All values of a named configuration or of a file, with overrides applied.

    Without ``kind`` a name is looked up as a system, chip, model, workload, memory, engine and
    library in that order; a system shows its chip as well.
    """
    overrides = list(overrides)
    kind = kind or kind_of_name(name)
    if kind == "system":
        return _describe_system(load_system_file(name, parse_overrides(overrides)))
    path = find_config(plural(kind), name)
    if kind == "memory":
        parse_overrides(overrides)
        return _describe_memory(path)
    if kind == "chip":
        chip = load_chip_file(path, parse_overrides(overrides))
        rows = [*_rows(chip, "chip"), *_peaks(chip.config.build())]
        return Description(kind, chip.config.name, str(path), tuple(rows))
    if kind == "model":
        model = load_model_file(path, parse_overrides(overrides))
        built = model.config.build()
        derived = [
            _computed("model.parameters", built.parameters, ""),
            _computed("model.kv_elements_per_token", built.kv_elements_per_token, ""),
        ]
        return Description(kind, built.name, str(path), (*_rows(model, "model"), *derived))
    if kind == "engine":
        from simulator.config.engine_schema import load_engine_file

        engine = load_engine_file(path, parse_overrides(overrides))
        return Description(kind, engine.config.name, str(path), tuple(_rows(engine, kind)))
    if kind == "library":
        library = load_library_file(path, parse_overrides(overrides))
        rows = [*_rows(library, f"library.{library.config.kernels}")]
        return Description(kind, library.config.name, str(path), tuple(rows))
    # imported here, since a workload brings numpy with it and nothing else does
    from simulator.config.workload_files import load_workload_file

    workload = load_workload_file(path, parse_overrides(overrides))
    return Description(kind, workload.config.name, str(path), tuple(_rows(workload, kind)))


def check_file(path: str | Path) -> str:
    """Validate one file of any kind; its kind. Raises ``InputError`` for the first fault.

    A system is checked with its chip and in all its shapes.
    """
    text = read_text(path)
    if Path(path).suffix == ".json" or text.lstrip().startswith("{"):
        load_model_file(Path(path))
        return "model"
    kind = kind_of_file(unwrap(parse_yaml(text, str(path))).node)
    if kind == "system":
        loaded = load_system_file(path)
        for shape in (None, *loaded.system.config.fabric.allowed()):
            loaded.build_shape(shape)
        check_chip(loaded.chip)
    elif kind == "chip":
        check_chip(load_chip_file(Path(path)))
    elif kind == "model":
        load_model_file(Path(path)).config.build()
    elif kind == "memory":
        from simulator.config.dram_schema import load_memory_file

        load_memory_file(Path(path)).build()
    elif kind == "engine":
        from simulator.config.engine_schema import load_engine_file

        load_engine_file(Path(path)).config.build()
    elif kind == "library":
        load_library_file(Path(path)).config.build()
    elif kind == "scenario":
        from simulator.config.scenario_names import check_names
        from simulator.config.scenario_schema import load_scenario

        check_names(load_scenario(path))
    elif kind == "layout":
        from simulator.config.loader import load_layout

        load_layout(path)
    else:
        from simulator.config.workload_files import load_workload_file

        load_workload_file(Path(path)).config.build()
    return kind


def kind_of_name(name: str) -> str:
    """The kind of a name or of a file; ``describe`` says in which order they are looked up.

    Raises ``InputError`` for what is neither.
    """
    family = name.rpartition(":")[0] or name
    for text in (name, family):
        if is_file(Path(text)):
            if Path(text).suffix == ".json":
                return "model"
            return kind_of_file(unwrap(parse_yaml(read_text(text), text)).node)
    for kind in ("systems", "chips", "models", "workloads", "memories", "engines", "libraries"):
        if (family if kind == "systems" else name) in list_names(kind):
            return singular(kind)
    known = sorted({known for kind in KINDS for known in list_names(kind)})
    if looks_like_path(name):
        raise InputError(f"{name} is no file", hint=did_you_mean(Path(name).stem, known))
    raise InputError(f"unknown name '{name}'", hint=did_you_mean(family, known))


def _describe_system(loaded: LoadedSystem) -> Description:
    system = loaded.build()
    fabric = system.fabric
    axes = shape_text(fabric.axes)
    rows = [
        *_rows(loaded.system, "system"),
        _computed("system.chips", system.chips, ""),
        _computed("system.axes", axes, ""),
        _computed("system.wrap", list(fabric.wrap), ""),
        _computed("system.link_bandwidth", fabric.link_bandwidth_bytes_per_s, "B/s"),
        _computed("system.hop_latency", fabric.hop_latency_ps, "ps"),
        *_rows(loaded.chip, "chip"),
        *_peaks(system.chip),
    ]
    for dtype in system.chip.matrix.dtypes:
        peak = system.chips * system.chip.peak_flops_per_s(dtype)
        rows.append(_computed(f"system.peak.{dtype}", peak, "FLOP/s"))
    return Description("system", system.name, str(loaded.system.path), tuple(rows))


def _describe_memory(path: Path) -> Description:
    """A DRAM channel; one source speaks of the whole file."""
    from simulator.config.dram_schema import load_memory_file

    config = load_memory_file(path)
    rows = [
        replace(row, source=config.source, confidence=config.confidence)
        for row in _section_rows(config, parse_yaml(read_text(path), str(path)), {}, "memory", "")
        if row.path not in ("memory.source", "memory.confidence")
    ]
    peak = config.build().peak_bytes_per_s
    return Description(
        "memory", config.name, str(path), (*rows, _computed("memory.peak", round(peak), "B/s"))
    )


def _peaks(chip: Chip) -> Iterator[Row]:
    for dtype in chip.matrix.dtypes:
        yield _computed(f"chip.peak.{dtype}", chip.peak_flops_per_s(dtype), "FLOP/s")


def _computed(path: str, value: Any, unit: str) -> Row:
    return Row(path, value, unit, _text(value, unit), COMPUTED.source, COMPUTED.confidence)


def _rows(loaded: Loaded[Any], root: str) -> Iterator[Row]:
    """Every value of a validated file, defaults included, in the order of the schema."""
    return _section_rows(loaded.config, loaded.sourced.node, loaded.sourced.provenance, root, "")


def _section_rows(
    section: BaseModel, node: Node | None, sources: dict[str, Provenance], root: str, path: str
) -> Iterator[Row]:
    for key, info in type(section).model_fields.items():
        value = getattr(section, key)
        below = node.entries.get(key) if isinstance(node, Mapping) else None
        here = f"{path}.{key}" if path else key
        unit = _unit((info.annotation, *info.metadata))
        if value is None:
            continue
        if isinstance(value, BaseModel):
            yield from _section_rows(value, below, sources, root, here)
        elif isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
            leaves = below.items if isinstance(below, Sequence) else []
            for index, item in enumerate(value):
                leaf = leaves[index] if index < len(leaves) else None
                yield from _section_rows(item, leaf, sources, root, f"{here}.{index}")
        elif isinstance(value, dict):
            for name, item in value.items():
                leaf = below.entries.get(name) if isinstance(below, Mapping) else None
                yield _row(item, leaf, sources, root, f"{here}.{name}", unit)
        else:
            yield _row(value, below, sources, root, here, unit)


def _row(
    value: Any, node: Node | None, sources: dict[str, Provenance], root: str, path: str, unit: str
) -> Row:
    origin = DEFAULT if node is None else sources.get(path, Provenance())
    if path.rpartition(".")[2] in ("kind", "name") and origin is not DEFAULT:
        # a section's source speaks of its figures
        origin = Provenance()
    if isinstance(value, list | tuple):
        value = _listed(value, node)
    text = node.text if isinstance(node, Scalar) else _text(value, unit)
    return Row(f"{root}.{path}", value, unit, text, origin.source, origin.confidence)


def _listed(value: list[Any] | tuple[Any, ...], node: Node | None) -> list[Any] | str:
    """A shape as its text; several things as a list, of shapes' texts where they are some."""
    written_out = isinstance(node, Sequence) or not value
    if isinstance(value, tuple) and not written_out and all(isinstance(i, int) for i in value):
        return shape_text(value)
    return [shape_text(item) if isinstance(item, tuple) else item for item in value]


def _unit(annotations: Iterable[Any]) -> str:
    """The unit of the first ``Quantity`` in a field's annotation or metadata."""
    for annotation in annotations:
        quantity = getattr(annotation, "func", annotation)
        if isinstance(quantity, Quantity):
            return quantity.unit
        found = _unit(getattr(annotation, "__metadata__", ())) or _unit(get_args(annotation))
        if found:
            return found
    return ""


def _text(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        if not value:
            return "none"
        return ", ".join(_text(item, "") for item in value)
    if unit == "ps":
        return format_time(value / 1e12)
    if unit == "B":
        return format_bytes(value)
    if unit == "FLOP/s" and value >= 1e12:
        return f"{value / 1e12:.6g} TFLOP/s"
    if unit in ("B/s", "FLOP/s", "Hz"):
        return format_rate(value, unit)
    if isinstance(value, float):
        return f"{value:g} {unit}".rstrip()
    return f"{value} {unit}".rstrip()
