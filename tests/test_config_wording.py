"""Faults of a configuration file are told in our words, whatever pydantic calls them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core.core_schema import ErrorType

from simulator.config import validation
from simulator.config.chip_schema import ChipConfig
from simulator.config.config_files import kind_of_file
from simulator.config.convnet_schema import ConvNetConfig
from simulator.config.dram_schema import MemoryConfig
from simulator.config.engine_schema import EngineConfig
from simulator.config.layout_schema import LayoutConfig
from simulator.config.library_schema import MarlinConfig
from simulator.config.model_schema import ModelConfig
from simulator.config.names import find_config
from simulator.config.provenance import unwrap
from simulator.config.schema_walk import child, known_keys
from simulator.config.system_schema import SystemConfig
from simulator.config.workload_schema import WorkloadConfig
from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_yaml, read_yaml
from simulator.errors import InputError, Location

PLACE = Location("odd.yaml", 1, 1)
SCALARS = ["x", "", "0", "-1", "nan", "1e30", "1.5"]
ODD: list[Node] = [Scalar(text, PLACE) for text in SCALARS]
ODD += [Mapping(PLACE), Sequence(PLACE), Sequence(PLACE, [Mapping(PLACE)])]

GAMMA = """
kind: workload
name: odd
arrivals: {process: gamma, rate: 1 req/s, cv: 2}
prompt_tokens: {distribution: quantiles, table: {0: 1, 1: 9}}
output_tokens: {distribution: uniform, min: 1, max: 9}
classes: {fast: {share: 100 %, slo: {ttft: 1 s}}}
"""
CLOSED = GAMMA.replace("gamma, rate: 1 req/s, cv: 2", "closed_loop, users: 3, think: 1 s")
LAYOUT = "kind: layout\nname: odd\nweights: gathered\n"

THEIRS = re.compile(
    "inputs? |should|after validation|valid (dict|int|num|str)|field required|unable to|permitted",
    re.I,
)
"""Words that each of pydantic's messages has at least one of."""

LIMITS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "actual_length")


def test_no_type_of_fault_has_pydantics_words() -> None:
    context = {**dict.fromkeys(LIMITS, 3), "expected": "'a' or 'b'"}
    for kind in get_args(ErrorType):
        if kind in ("value_error", "assertion_error") or "tag" in kind:
            continue  # raised by ourselves; worded from the tags
        for node in (Scalar("x", PLACE), Sequence(PLACE)):
            message, _ = validation._wording(kind, context, node, int)
            assert message.startswith("expected ") and ", found " in message
            assert not THEIRS.search(message), kind


def _places(node: Node, schema: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all that stands in a file, and of the keys that might."""
    if path:
        yield path
    if isinstance(node, Mapping):
        for key in known_keys(schema, node) or []:
            if key not in node.entries:
                yield (*path, key)
        for key, value in node.entries.items():
            yield from _places(value, child(schema, node, key), (*path, key))
    elif isinstance(node, Sequence):
        for index, value in enumerate(node.items[:1]):
            yield from _places(value, child(schema, node, index), (*path, index))


def _put(node: Node, path: tuple[Any, ...], value: Node) -> Node:
    if not path:
        return value
    if isinstance(node, Sequence):
        items = list(node.items)
        items[path[0]] = _put(items[path[0]], path[1:], value)
        return Sequence(node.location, items)
    assert isinstance(node, Mapping)
    below = _put(node.entries.get(path[0], value), path[1:], value)
    keys = {**node.keys, path[0]: PLACE}
    return Mapping(node.location, {**node.entries, path[0]: below}, keys)


def _file(kind: str, name: str) -> Node:
    if "\n" in name:
        return parse_yaml(name, "odd.yaml")
    path: Path = find_config(kind, name)
    return read_yaml(path)


@pytest.mark.parametrize(
    ("kind", "name", "schema"),
    [
        ("chips", "toy", ChipConfig),
        ("chips", "l40s", ChipConfig),
        ("systems", "h100", SystemConfig),
        ("models", "llama3-8b", ModelConfig),
        ("models", "resnet-50", ConvNetConfig),
        ("engines", "trtllm", EngineConfig),
        ("libraries", "marlin", MarlinConfig),
        ("memories", "hbm2-2000", MemoryConfig),
        ("workloads", GAMMA, WorkloadConfig),
        ("workloads", CLOSED, WorkloadConfig),
        ("layouts", LAYOUT, LayoutConfig),
    ],
)
def test_odd_values_are_refused_in_our_words(kind: str, name: str, schema: Any) -> None:
    node = _file(kind, name)
    if kind != "memories":  # its source is a key like any other
        node = unwrap(node).node
    validation.validate(node, schema)
    refused = 0
    for path in _places(node, schema):
        for odd in ODD:
            try:
                validation.validate(_put(node, path, odd), schema)
            except InputError as error:
                refused += 1
                assert not THEIRS.search(error.message), (path, error.message)
                assert error.location is not None and error.location.line
    assert refused > 10


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cv: 2", "cv: 1000", "cv: expected at most 100"),
        ("cv: 2", "cv: 0.001", "cv: expected at least 0.01"),
    ],
)
def test_limits_are_said(old: str, new: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        validation.validate(parse_yaml(GAMMA.replace(old, new), "odd.yaml"), WorkloadConfig)
    place = caught.value.location
    assert place is not None and (place.line, place.column) == (4, 47)


def test_a_kind_that_is_no_word_is_said() -> None:
    with pytest.raises(InputError, match=r"kind: expected one of chip, .* found a list"):
        kind_of_file(parse_yaml("kind: [chip]", "odd.yaml"))
