"""Workload files to specifications."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simulator.config.config_files import Loaded, kind_of_file
from simulator.config.overrides import Override, apply_overrides
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.workload_schema import WorkloadConfig, source_of
from simulator.config.yaml_nodes import Mapping, read_yaml
from simulator.errors import InputError
from simulator.workload.spec import WorkloadSpec


def build_workload(path: Path, overrides: Iterable[Override]) -> WorkloadSpec:
    """The specification of a workload file; ``InputError`` for the first fault of the file."""
    loaded = load_workload_file(path, overrides)
    return loaded.config.build(source_of(read_yaml(path)))


def load_workload_file(path: Path, overrides: Iterable[Override] = ()) -> Loaded[WorkloadConfig]:
    """A workload file, overridden and validated."""
    sourced = unwrap(read_yaml(path))
    kind = kind_of_file(sourced.node)
    if kind != "workload":
        assert isinstance(sourced.node, Mapping)
        location = sourced.node.entries["kind"].location
        raise InputError(f"this is a {kind} file, expected a workload file", location=location)
    apply_overrides(sourced, WorkloadConfig, overrides, "workload")
    return Loaded(path, sourced, validate(sourced.node, WorkloadConfig))
