"""Names and paths to workloads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simulator.config.loader import Loaded, kind_of_file
from simulator.config.names import find_config
from simulator.config.overrides import Override, apply_overrides, parse_overrides
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.workload_schema import WorkloadConfig, source_of
from simulator.config.yaml_nodes import Mapping, read_yaml
from simulator.errors import InputError
from simulator.workload.spec import WorkloadSpec


def load_workload(name_or_path: str | Path, overrides: Iterable[str] = ()) -> WorkloadSpec:
    """The workload of a name in ``workloads`` or of a YAML file.

    ``overrides`` are strings such as ``workload.arrivals.rate=10 req/s``. Raises ``InputError``
    for an unknown name (with the nearest one) and for the first fault of the file.
    """
    path = find_config("workloads", name_or_path)
    loaded = load_workload_file(path, parse_overrides(overrides))
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
