"""Schema of a scenario file: everything that ``chipsim run`` can be told, in one place.

Keys are the options of the command with underscores. The schema says which keys there are, what
they may hold and where a fault is; the command line reads the values as if they stood there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.config.config_files import kind_of_file
from simulator.config.distribution_schema import PositiveNumber
from simulator.config.fields import (
    Count,
    CountOrZero,
    Dtype,
    Duration,
    FractionOrZero,
    Latency,
    Name,
    Scheduler,
    Section,
    user_error,
)
from simulator.config.names import is_file, looks_like_path, packaged_folder
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence, read_yaml
from simulator.errors import InputError, Location, did_you_mean

Texts = str | list[str]


class MemberConfig(Section):
    """Copies of a system that serve in the same way."""

    system: str
    layout: str | None = None
    replicas: Count = 1


class ScenarioConfig(Section):
    """A scenario file."""

    kind: Literal["scenario"]
    name: Name
    model: str
    system: str | None = None
    serve: list[MemberConfig] | None = None
    prefill: list[MemberConfig] | None = None
    decode: list[MemberConfig] | None = None
    workload: str | None = None
    trace: str | None = None
    limit: Count | None = None
    rate_scale: PositiveNumber | None = None
    warmup: Latency | None = None
    seed: CountOrZero | None = None
    slo: list[str] | None = None
    replicas: Count | None = None
    router: Literal["round-robin", "least-loaded", "prefix-aware", "power-of-two"] | None = None
    disaggregate: str | None = None
    kv_link: str | None = None
    rebalance: Duration | None = None
    fail: list[str] | None = None
    on_failure: Literal["retry", "lose"] | None = None
    max_retries: CountOrZero | None = None
    engine: str | None = None
    scheduler: Scheduler | None = None
    preemption: Literal["recompute", "swap"] | None = None
    prefix_cache: Literal["on", "off"] | None = None
    watermark: FractionOrZero | None = None
    kv_tier: list[str] | None = None
    max_batch: Count | None = None
    token_budget: Count | None = None
    tp: Count | None = None
    pp: Count | None = None
    ep: Count | None = None
    dp: Count | None = None
    sp: Count | None = None
    layout: str | None = None
    moe: Literal["sorted", "fused"] | None = None
    expert_load: str | None = None
    speculate: str | None = None
    dtype: Dtype | None = None
    weight_dtype: Dtype | None = None
    activation_dtype: Dtype | None = None
    kv_dtype: Dtype | None = None
    set: Annotated[list[str] | None, Field(description="PATH=VALUE overrides")] = None

    @model_validator(mode="after")
    def _one_way_to_serve(self) -> ScenarioConfig:
        ways = [key for key in ("system", "serve", "prefill") if getattr(self, key) is not None]
        if len(ways) != 1:
            raise user_error(
                f"found {' and '.join(ways) or 'no system'}",
                "expected one of 'system', 'serve', or 'prefill' with 'decode'",
            )
        if (self.prefill is None) != (self.decode is None):
            raise user_error("'prefill' and 'decode' go together")
        if self.workload is not None and self.trace is not None:
            raise user_error("found 'workload' and 'trace'", "expected one of them")
        return self


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one key, or the values of a list, as text, and where it stands.

    ``places`` are those of the values of a list.
    """

    text: str | tuple[str, ...]
    location: Location
    places: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A validated scenario: ``members`` by role, and every other key that it has."""

    name: str
    members: dict[str, tuple[MemberConfig, ...]]
    settings: dict[str, Setting]
    places: dict[str, tuple[Location, ...]]
    """Where the systems of ``members`` stand."""


ROLES = ("serve", "prefill", "decode")
NOT_OPTIONS = ("kind", "name", "source", "confidence", *ROLES)


def _find(name: str) -> Path:
    """A path, or the file of a shipped scenario's name."""
    if is_file(Path(name)) or looks_like_path(name):
        return Path(name)
    folders = (Path("configs/scenarios"), packaged_folder(Path("configs/scenarios")))
    known = {file.stem: file for folder in reversed(folders) for file in folder.glob("*.yaml")}
    if name not in known:
        raise InputError(f"unknown scenario '{name}'", hint=did_you_mean(name, known))
    return known[name]


def load_scenario(path: str | Path) -> Scenario:
    """The scenario of a YAML file, or of a shipped one's name.

    Paths in it are relative to the current directory, as on the command line.

    Raises:
        InputError: the first fault of the file, with its place.
    """
    node = unwrap(read_yaml(_find(str(path)))).node
    kind = kind_of_file(node)
    assert isinstance(node, Mapping)
    if kind != "scenario":
        location = node.entries["kind"].location
        raise InputError(f"this is a {kind} file, expected a scenario file", location=location)
    _as_lists(node, (*ROLES, "slo", "fail", "set", "kv_tier"))
    config = validate(node, ScenarioConfig)
    members = {role: tuple(getattr(config, role) or ()) for role in ROLES}
    settings = {
        key: Setting(_text(entry), entry.location, _item_places(entry))
        for key, entry in node.entries.items()
        if key not in NOT_OPTIONS
    }
    places = {role: _places(node.entries[role]) for role in ROLES if role in node.entries}
    return Scenario(config.name, {k: v for k, v in members.items() if v}, settings, places)


def _places(members: Node) -> tuple[Location, ...]:
    assert isinstance(members, Sequence)
    found = [item.entries["system"] for item in members.items if isinstance(item, Mapping)]
    return tuple(entry.location for entry in found)


def _item_places(node: Node) -> tuple[Location, ...]:
    if not isinstance(node, Sequence):
        return ()
    return tuple(item.location for item in node.items if isinstance(item, Scalar))


def _as_lists(node: Mapping, keys: Iterator[str] | tuple[str, ...]) -> None:
    """Let a single entry stand where a list is expected."""
    for key in keys:
        entry = node.entries.get(key)
        if entry is not None and not isinstance(entry, Sequence):
            node.entries[key] = Sequence(entry.location, [entry])


def _text(node: Node) -> str | tuple[str, ...]:
    if isinstance(node, Sequence):
        return tuple(item.text for item in node.items if isinstance(item, Scalar))
    assert isinstance(node, Scalar)
    return node.text
