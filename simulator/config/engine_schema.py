"""Schema of an engine file (``configs/engines``), and the ``ServingEngine`` that it becomes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from simulator.config.attention_schema import EngineAttentionConfig
from simulator.config.chip_schema import ValidatedConfig
from simulator.config.config_files import Loaded, load_file
from simulator.config.fields import (
    Delay,
    Dtype,
    Fraction,
    FractionOrZero,
    Name,
    Note,
    Scheduler,
    Section,
    user_error,
)
from simulator.config.names import list_names
from simulator.config.overrides import Override
from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence
from simulator.errors import InputError, did_you_mean
from simulator.hardware import EngineAttention, ServingEngine, Validated
from simulator.hardware.engine_kernels import ENGINES

MOST_GRAPHS = 1024
LARGEST_GRAPH = 2**16


def _graph_batches(value: Any) -> tuple[int, ...]:
    """Ascending numbers of sequences; one error for the first that is none."""
    if not isinstance(value, list):
        raise user_error("expected a list of numbers of sequences, such as [1, 2, 4, 8]")
    if len(value) > MOST_GRAPHS:
        raise user_error(f"found {len(value)} batches, expected at most {MOST_GRAPHS}")
    found: list[int] = []
    for item in value:
        if not isinstance(item, str):
            what = "a list" if isinstance(item, list) else "a mapping"
            raise user_error(
                f"found {what} in the list, expected numbers of sequences, such as [1, 2, 4, 8]"
            )
        batch = int(item) if re.fullmatch(r"[0-9]{1,9}", item) else 0
        if not 0 < batch <= LARGEST_GRAPH:
            raise user_error(
                f"'{item[:40]}' is no number of sequences, expected 1 to {LARGEST_GRAPH}"
            )
        if found and batch <= found[-1]:
            raise user_error(f"found {batch} after {found[-1]}, expected ascending numbers")
        found.append(batch)
    return tuple(found)


GraphBatches = Annotated[tuple[int, ...], BeforeValidator(_graph_batches)]


class ServerValidatedConfig(ValidatedConfig):
    """A comparison with measured servers of one chip."""

    chip: Name


class AttentionsConfig(Section):
    """Attention kernels by the data type of the cache."""

    bf16: EngineAttentionConfig | None = None
    fp8: EngineAttentionConfig | None = None
    int8: EngineAttentionConfig | None = None

    def build(self) -> tuple[EngineAttention, ...]:
        """Those that there are."""
        named = (("bf16", self.bf16), ("fp8", self.fp8), ("int8", self.int8))
        return tuple(own.build(cache) for cache, own in named if own is not None)


class EngineConfig(Section):
    """An engine file; see ``hardware.ServingEngine``."""

    kind: Literal["engine"]
    name: Name
    measured: Note | None = None
    iteration: Delay
    sequence: Delay = 0
    scheduler: Scheduler = "chunked"
    prompt_wait: FractionOrZero = 1.0
    all_reduce: Note | None = None
    kv_memory: Fraction | None = None
    residual: Dtype | None = None
    attention: AttentionsConfig = AttentionsConfig()
    graph_batches: GraphBatches = ()
    expert_load: Note = "balanced"
    validation: list[ServerValidatedConfig] = Field(default=[])

    @field_validator("expert_load")
    @classmethod
    def _is_a_load(cls, text: str) -> str:
        word, colon, number = text.partition(":")
        if word not in ("balanced", "random") or (colon and word == "balanced"):
            raise user_error(
                f"found '{text[:40]}', expected balanced, random or random:SPREAD",
                did_you_mean(word, ("balanced", "random")),
            )
        # up to MOST_SPREAD of timing.expert_load
        if colon and not re.fullmatch(r"[0-4](\.[0-9]{1,6})?|5(\.0)?", number):
            raise user_error(f"found a spread of '{number[:40]}', expected 0 to 5")
        return text

    @field_validator("all_reduce")
    @classmethod
    def _has_kernels(cls, name: str | None) -> str | None:
        if name is not None and name not in ENGINES:
            raise user_error(
                f"no engine '{name[:40]}' with all-reduce kernels",
                did_you_mean(name, tuple(ENGINES)),
            )
        return name

    def build(self) -> ServingEngine:
        """The specification."""
        found = tuple(
            (entry.chip, Validated(**entry.model_dump(exclude={"chip"})))
            for entry in self.validation
        )
        return ServingEngine(
            name=self.name,
            iteration_ps=self.iteration,
            sequence_ps=self.sequence,
            scheduler=self.scheduler,
            prompt_wait=self.prompt_wait,
            all_reduce=self.all_reduce,
            kv_memory=self.kv_memory,
            residual=self.residual,
            attention=self.attention.build(),
            graph_batches=self.graph_batches,
            expert_load=self.expert_load,
            validation=found,
        )


def load_engine_file(path: Path, overrides: Iterable[Override] = ()) -> Loaded[EngineConfig]:
    """An engine file, overridden and validated; the chips that it names are known."""
    loaded = load_file(path, "engine", EngineConfig, overrides)
    known = list_names("chips")
    own = {file.stem for folder in (path.parent, Path()) for file in folder.glob("*.yaml")}
    for name in _chip_names(loaded.sourced.node):
        if name.text not in known and name.text not in own:
            near = did_you_mean(name.text, known)
            raise InputError(
                f"unknown chip '{name.text}'",
                location=name.location,
                hint=f"{near}; a chip of your own is known by its file here or beside the engine's",
            )
    return loaded


def _chip_names(root: Node) -> Iterator[Scalar]:
    """Every name of a chip in a validated engine file, with its place."""
    entries = root.entries if isinstance(root, Mapping) else {}
    attention = entries.get("attention")
    for kernels in attention.entries.values() if isinstance(attention, Mapping) else ():
        chips = kernels.entries.get("chips") if isinstance(kernels, Mapping) else None
        for name in chips.items if isinstance(chips, Sequence) else ():
            if isinstance(name, Scalar):
                yield name
    validation = entries.get("validation")
    for entry in validation.items if isinstance(validation, Sequence) else ():
        chip = entry.entries.get("chip") if isinstance(entry, Mapping) else None
        if isinstance(chip, Scalar):
            yield chip
