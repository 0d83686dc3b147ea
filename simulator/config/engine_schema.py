"""Schema of an engine file (``configs/engines``), and the ``ServingEngine`` that it becomes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from simulator.config.chip_schema import ValidatedConfig
from simulator.config.config_files import Loaded, load_file
from simulator.config.fields import Delay, FractionOrZero, Name, Note, Section, user_error
from simulator.config.overrides import Override
from simulator.errors import did_you_mean
from simulator.hardware import ServingEngine, Validated
from simulator.hardware.engine_kernels import ENGINES


class ServerValidatedConfig(ValidatedConfig):
    """A comparison with measured servers of one chip."""

    chip: Name


class EngineConfig(Section):
    """An engine file; see ``hardware.ServingEngine``."""

    kind: Literal["engine"]
    name: Name
    measured: Note | None = None
    iteration: Delay
    sequence: Delay = 0
    scheduler: Literal["chunked", "prefill-first", "decode-first", "static"] = "chunked"
    prompt_wait: FractionOrZero = 1.0
    all_reduce: Note | None = None
    validation: list[ServerValidatedConfig] = Field(default=[])

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
            validation=found,
        )


def load_engine_file(path: Path, overrides: Iterable[Override] = ()) -> Loaded[EngineConfig]:
    """An engine file, overridden and validated."""
    return load_file(path, "engine", EngineConfig, overrides)
