"""YAML to specification: the only place that knows pydantic."""

from simulator.config.catalog import check_file, describe
from simulator.config.loader import load_chip, load_model, load_system
from simulator.config.names import find_config, list_names

__all__ = [
    "check_file",
    "describe",
    "find_config",
    "list_names",
    "load_chip",
    "load_model",
    "load_system",
]
