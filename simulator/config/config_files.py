"""Files to validated configurations: the half of loading that knows YAML and pydantic.

``config.loader`` imports it only for what is not remembered from an earlier command.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from simulator.config.chip_schema import ChipConfig
from simulator.config.convnet_schema import ConvNetConfig
from simulator.config.model_schema import ModelConfig
from simulator.config.names import find_config, is_file, looks_like_path
from simulator.config.overrides import FILE, Override, apply_overrides
from simulator.config.provenance import Provenance, Sourced, unwrap
from simulator.config.shapes import TWISTED, Axes, choose_shape
from simulator.config.system_schema import SystemConfig
from simulator.config.validation import validate
from simulator.config.yaml_nodes import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    describe_node,
    parse_yaml,
    read_text,
)
from simulator.errors import InputError, Location, article, did_you_mean
from simulator.hardware import System
from simulator.model.huggingface import parse_config
from simulator.model.recipe import Recipe

FILE_KINDS = (
    "chip",
    "system",
    "model",
    "workload",
    "memory",
    "engine",
    "layout",
    "scenario",
    "library",
)

_PUT_INTO_A_SYSTEM = "a chip's file is put into a system: h100 --set system.chip=FILE"

Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Config]):
    """A validated file with its tree of nodes and the provenance of its values."""

    path: Path
    sourced: Sourced
    config: Config


@dataclass(frozen=True, slots=True)
class LoadedSystem:
    """A validated system file, its chip's file, and the shape that was asked for."""

    system: Loaded[SystemConfig]
    chip: Loaded[ChipConfig]
    shape: Axes | None
    twisted: bool = False

    def build(self) -> System:
        """The system of the shape; errors stand at the file's ``fabric``."""
        return self.build_shape(self.shape, self.twisted)

    def build_shape(self, shape: Axes | None, twisted: bool = False) -> System:
        """The system of any shape of the family."""
        try:
            return self.system.config.build(self.chip.config.build(), shape, twisted)
        except InputError as error:
            root = self.system.sourced.node
            error.location = root.keys.get("fabric") if isinstance(root, Mapping) else None
            raise


def load_chip_file(path: Path, overrides: Iterable[Override] = ()) -> Loaded[ChipConfig]:
    """A chip file, overridden and validated."""
    return load_file(path, "chip", ChipConfig, overrides)


def load_file(
    path: Path, kind: str, schema: type[Config], overrides: Iterable[Override] = ()
) -> Loaded[Config]:
    """A YAML file of one kind, overridden and validated."""
    return _load(path, _read(path), kind, schema, overrides)


def load_model_file(
    path: Path, overrides: Iterable[Override] = ()
) -> Loaded[ModelConfig] | Loaded[ConvNetConfig]:
    """A model file (YAML or ``config.json``), overridden and validated.

    ``architecture: convnet`` chooses the schema of convolutional networks.
    """
    text = read_text(path)
    if path.suffix == ".json" or text.lstrip().startswith("{"):
        sourced = _recipe_nodes(parse_config(text, str(path)), str(path))
    else:
        sourced = unwrap(_parsed(text, str(path)))
    node = sourced.node
    if isinstance(node, Mapping) and "architecture" in node.entries:
        known = node.entries["architecture"]
        if isinstance(known, Scalar) and known.text == "convnet":
            return _load(path, sourced, "model", ConvNetConfig, overrides)
    return _load(path, sourced, "model", ModelConfig, overrides)


def load_system_file(name: str | Path, overrides: Iterable[Override] = ()) -> LoadedSystem:
    """The system file of ``family[:shape]`` with the file of its chip."""
    overrides = list(overrides)
    family, shape_text = _split_shape(str(name))
    path = find_config("systems", family)
    system = load_file(path, "system", SystemConfig, overrides)
    chip = load_chip_file(_chip_path(system), overrides)
    shape, twisted = None, False
    if shape_text is not None:
        twisted = shape_text.endswith(TWISTED)
        plain = shape_text.removesuffix(TWISTED)
        shape = choose_shape(system.config.name, plain, system.config.fabric.allowed())
    return LoadedSystem(system, chip, shape, twisted)


def kind_of_file(node: Node) -> str:
    """The value of the key ``kind`` that every configuration file has."""
    if not isinstance(node, Mapping):
        raise InputError(f"expected a mapping, found {describe_node(node)}", location=node.location)
    kind = node.entries.get("kind")
    if kind is None:
        raise InputError(
            "missing key 'kind'",
            location=node.location,
            hint=f"expected one of {', '.join(FILE_KINDS)}",
        )
    if not isinstance(kind, Scalar):
        raise InputError(
            f"kind: expected one of {', '.join(FILE_KINDS)}, found {describe_node(kind)}",
            location=kind.location,
        )
    text = kind.text
    if text not in FILE_KINDS:
        raise InputError(
            f"kind: unknown value {describe_node(kind)}",
            location=kind.location,
            hint=f"{did_you_mean(text, FILE_KINDS)}",
        )
    return text


def _load(
    path: Path,
    sourced: Sourced,
    kind: str,
    schema: type[Config],
    overrides: Iterable[Override],
) -> Loaded[Config]:
    found = kind_of_file(sourced.node)
    if found != kind:
        node: Any = sourced.node
        location = node.entries["kind"].location
        raise InputError(
            f"this is a {found} file, expected {article(kind)} {kind} file",
            location=location,
            hint=_PUT_INTO_A_SYSTEM if (found, kind) == ("chip", "system") else None,
        )
    apply_overrides(sourced, schema, overrides, kind)
    return Loaded(path, sourced, validate(sourced.node, schema))


def _read(path: Path) -> Sourced:
    return unwrap(_parsed(read_text(path), str(path)))


@functools.lru_cache(maxsize=32)
def _parsed(text: str, file: str) -> Node:
    """The nodes of a file, which a sweep over its values reads again and again.

    They are shared: ``unwrap`` makes new mappings, and overrides change only those.
    """
    return parse_yaml(text, file)


def _split_shape(text: str) -> tuple[str, str | None]:
    """``tpu-v5e:2x2`` as its two parts; a colon in the name of a file that exists stays."""
    if ":" not in text or is_file(Path(text)):
        return text, None
    family, _, shape = text.rpartition(":")
    return family, shape


def _chip_path(system: Loaded[SystemConfig]) -> Path:
    """The chip's file; a path is relative to the system's file, that of an override to where
    the command runs."""
    name = system.config.chip
    root: Any = system.sourced.node
    place = root.entries["chip"].location
    if place.file != FILE and looks_like_path(name) and not Path(name).is_absolute():
        name = str(system.path.parent / name)
    try:
        return find_config("chips", name)
    except InputError as error:
        raise InputError(error.message, location=place, hint=error.hint) from None


def _recipe_nodes(recipe: Recipe, file: str) -> Sourced:
    """A parsed ``config.json`` as the tree that the schema of a model file validates."""
    source = Provenance(source=Path(file).name)
    provenance: dict[str, Provenance] = {}
    tree = _nodes(recipe, Location(file), "", provenance, source)
    tree.entries["kind"] = Scalar("model", Location(file))
    tree.keys["kind"] = Location(file)
    return Sourced(tree, provenance)


def _nodes(
    part: Any, place: Location, path: str, provenance: dict[str, Provenance], source: Provenance
) -> Mapping:
    """The fields of a dataclass that are not None, by name."""
    entries: dict[str, Node] = {}
    for name in (item.name for item in fields(part)):
        value = getattr(part, name)
        here = f"{path}.{name}" if path else name
        if value is None:
            continue
        if is_dataclass(value):
            entries[name] = _nodes(value, place, here, provenance, source)
            continue
        provenance[here] = source
        if isinstance(value, tuple):
            entries[name] = Sequence(place, [Scalar(str(item), place) for item in value])
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            entries[name] = Scalar(text, place)
    return Mapping(place, entries, dict.fromkeys(entries, place))
