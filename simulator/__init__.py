"""chipsim: a cycle-approximate simulator of AI accelerators.

    >>> from simulator import simulate
    >>> result = simulate("tpu-v6e", "llama3-8b", "chat")

Everything public is reached from here and imported when it is first used.
"""

from __future__ import annotations

# nothing is imported, so that an interrupt finds its handler as early as possible
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from simulator.api import (
        generate,
        load_chip,
        load_model,
        load_system,
        load_workload,
        price_matmul,
        price_matmuls,
        price_step,
        read_trace,
        simulate,
    )

__version__ = "0.1.0"

__all__ = [
    "generate",
    "load_chip",
    "load_model",
    "load_system",
    "load_workload",
    "price_matmul",
    "price_matmuls",
    "price_step",
    "read_trace",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("simulator.api"), name)
    raise AttributeError(f"module 'simulator' has no attribute '{name}'")
