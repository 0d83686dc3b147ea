"""Workload files to specifications."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simulator.config.config_files import Loaded, load_file
from simulator.config.overrides import Override
from simulator.config.workload_schema import WorkloadConfig, source_of
from simulator.config.yaml_nodes import read_yaml
from simulator.workload.spec import WorkloadSpec


def build_workload(path: Path, overrides: Iterable[Override]) -> WorkloadSpec:
    """The specification of a workload file; ``InputError`` for the first fault of the file."""
    loaded = load_workload_file(path, overrides)
    return loaded.config.build(source_of(read_yaml(path)))


def load_workload_file(path: Path, overrides: Iterable[Override] = ()) -> Loaded[WorkloadConfig]:
    """A workload file, overridden and validated."""
    return load_file(path, "workload", WorkloadConfig, overrides)
