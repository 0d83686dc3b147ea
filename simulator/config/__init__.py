"""YAML to specification: the only place that knows pydantic."""

from simulator.config.loader import load_chip, load_model, load_system
from simulator.config.names import find_config, list_names

__all__ = ["find_config", "list_names", "load_chip", "load_model", "load_system"]
