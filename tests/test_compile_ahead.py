"""What the first run compiles in another process is what it then calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator import simulate
from simulator.serving import compile_ahead, loop


class CalledError(Exception):
    """Ends a run at its first call of the loop."""


def types_of(value: Any) -> Any:
    """As numba tells arguments apart: arrays by their elements and axes, integers all alike."""
    if isinstance(value, tuple):
        return tuple(types_of(part) for part in value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim, value.flags.c_contiguous
    return int if isinstance(value, int) else type(value)


def test_the_loop_is_compiled_for_the_types_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def advance(*arguments: Any) -> int:
        calls.append(types_of(arguments))
        raise CalledError

    monkeypatch.setattr(loop, "advance", advance)
    with pytest.raises(CalledError):
        compile_ahead.compile_loop()
    with pytest.raises(CalledError):
        simulate("toy", "llama-toy", "chat")
    ahead, run = calls
    assert ahead == run
