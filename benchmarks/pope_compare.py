"""PaLM-540B on 64 TPU v4 against Pope et al. (arXiv 2211.05102, table 2).

The layouts are the paper's: weights in two dimensions on a grid of 4 x 16 (gathered for the large
prefill), attention cut by heads for the prefill of a single prompt and by sequences otherwise,
heads padded from 48 to 64, activations and cache in bf16. Nothing is fitted to these figures; what
the TPU v4 files take over from TPU7x says so there.

    python benchmarks/pope_compare.py
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.config.loader import load_model, load_system
from simulator.model.layout import Layout
from simulator.timing.choices import Dtypes
from simulator.timing.plan import make_plan
from simulator.timing.step import price_step

GRID = Layout(ffn_tp=64, weights="stationary-2d", grid_x=4, pad_heads=True, dp=64)
BY_HEADS = Layout(ffn_tp=64, weights="stationary-2d", grid_x=4, pad_heads=True, tp=64)
GATHERED = Layout(ffn_dp=64, weights="gathered", pad_heads=True, dp=64)
CONTEXT = 2048
GENERATED = 64


@dataclass(frozen=True)
class Case:
    phase: str
    batch: int
    weights: str
    layout: Layout
    published_s: float
    published_mfu: float


CASES = (
    Case("prefill", 1, "int8", BY_HEADS, 0.29, 0.43),
    Case("decode", 64, "int8", GRID, 1.82, 0.14),
    Case("prefill", 512, "bf16", GATHERED, 85.2, 0.76),
    Case("decode", 512, "bf16", GRID, 6.0, 0.33),
)


def simulated(case: Case) -> tuple[float, float]:
    """(seconds, MFU) of a prefill, or of 64 decode steps in the middle of their context."""
    # the generated tokens go beyond the 2,048 that the model was trained for
    model = load_model("palm-540b", ["model.max_context=4096"])
    dtypes = Dtypes(case.weights, "bf16", "bf16")
    plan = make_plan(load_system("tpu-v4:4x4x4"), model, layout=case.layout, dtypes=dtypes)
    if case.phase == "prefill":
        step = price_step(plan, phase="prefill", batch=case.batch, context=CONTEXT)
        return step.time_s, step.mfu
    context = CONTEXT + GENERATED // 2
    step = price_step(plan, phase="decode", batch=case.batch, context=context)
    return GENERATED * step.time_s, step.mfu


def rows() -> list[tuple[Case, float, float]]:
    """Every case with its simulated seconds and MFU."""
    return [(case, *simulated(case)) for case in CASES]


if __name__ == "__main__":
    print("PaLM-540B on 64 TPU v4, context 2,048; decode is 64 tokens")
    print(
        f"{'phase':8} {'batch':>5} {'weights':7} {'published':>10} {'simulated':>10} {'error':>7}"
        f" {'MFU':>6} {'simulated':>10}"
    )
    for case, seconds, mfu in rows():
        error = 100 * (seconds / case.published_s - 1)
        print(
            f"{case.phase:8} {case.batch:5} {case.weights:7} {case.published_s:8.2f} s "
            f"{seconds:8.2f} s {error:+6.1f}% {case.published_mfu:6.0%} {mfu:10.1%}"
        )
