"""What all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis.internal.conjecture import providers

# Hypothesis draws some values from constants of the modules that happen to be loaded, so that the
# examples of a test would depend on which tests ran before it. Without them each is deterministic.
_NONE = providers._local_constants
providers._get_local_constants = lambda: _NONE

MANY = 1000
"""Tests of a session that is worth a second process."""

COMPILE = """
import os, tempfile
from fractions import Fraction
from simulator.config.loader import load_memory
from simulator.report.systolic_trace import write_trace
from simulator.timing.memory import simulate_memory
from simulator.timing.systolic import SystolicCase, systolic_timing
channel = load_memory("hbm2-2000")
simulate_memory(channel, "random", requests=100)
with tempfile.TemporaryDirectory() as folder:
    write_trace(SystolicCase(8, 8, 8, 4, 4), os.path.join(folder, "trace.npz"))
simulate_memory(channel, "random", requests=100, write_fraction=0.5)
buffers = {f"sram_{name}_bytes": 2048 for name in ("ifmap", "filter", "ofmap")}
systolic_timing(SystolicCase(64, 64, 64, 8, 8, bandwidth=Fraction(3), **buffers))
"""


@pytest.fixture(scope="session", autouse=True)
def _kernels_compiled_beside(request: pytest.FixtureRequest) -> Iterator[None]:
    """On a second core, compile those kernels that take longest and that late tests call.

    It changes no result: whoever needs a kernel that is not there yet compiles it.
    """
    if len(request.session.items) < MANY or (os.cpu_count() or 1) < 2:
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-c", COMPILE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as helper:
        yield
        helper.kill()
