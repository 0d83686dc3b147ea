"""What the clock cannot hold is refused; warm-up leaves the counts of requests whole."""

import math

import numpy as np
import pytest

from simulator.api import load_model, load_system, price_step, simulate
from simulator.errors import InfeasibleError, InputError
from simulator.workload.request import Requests, Workload

EVERY_SECOND = Workload(
    "five",
    Requests(
        arrival_ps=np.arange(5, dtype=np.int64) * 10**12,
        prompt_tokens=np.full(5, 8, dtype=np.int64),
        output_tokens=np.full(5, 4, dtype=np.int64),
    ),
)


@pytest.mark.parametrize(
    "override",
    [
        "chip.clock=1 Hz",
        "chip.hbm.bandwidth=1 kB/s",
        "chip.sram.bandwidth=1 B/s",
        "chip.hbm.latency=1000h",
        "chip.operator_overhead=2 s",
        "system.host_overhead=1000h",
    ],
)
def test_rates_and_delays_of_no_machine_are_refused(override: str) -> None:
    with pytest.raises(InputError):
        load_system("toy", [override])


def test_a_step_of_more_than_a_day_is_refused() -> None:
    slow = load_system("toy", ["chip.hbm.bandwidth=1 MB/s"])
    with pytest.raises(InfeasibleError, match="more than a day"):
        price_step(
            load_system("toy", ["chip.hbm.bandwidth=1 MB/s", "chip.hbm.capacity=1000 TB"]),
            "llama3-70b",
            phase="prefill",
            batch=1,
            context=100_000,
        )
    assert price_step(slow, "llama-toy", phase="decode", batch=1, context=7).time_s < 1


@pytest.mark.parametrize("warmup", [-1.0, math.inf, math.nan, 1e300])
def test_a_bad_warmup_is_refused(warmup: float) -> None:
    with pytest.raises(InputError, match="--warmup"):
        simulate("toy", "llama-toy", EVERY_SECOND, warmup_s=warmup)


def test_warmup_leaves_arrivals_out_of_latencies_and_not_out_of_the_counts() -> None:
    result = simulate("toy", "llama-toy", EVERY_SECOND, warmup_s=1.5)
    counts = result.requests
    assert counts.arrived == counts.completed + counts.rejected == 5
    assert counts.counted == 3
    assert counts.output_tokens == 20
    late = result.table.first_token_ps[2:] - result.table.arrival_ps[2:]
    assert result.ttft_s.mean == pytest.approx(late.mean() / 1e12)
    since = result.simulated_s - 1.5
    assert result.output_tokens_per_s == pytest.approx(12 / since)


def test_the_model_is_the_toy_of_the_docs() -> None:
    assert load_model("llama-toy").layers == 2
