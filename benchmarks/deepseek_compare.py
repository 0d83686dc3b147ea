"""DeepSeek's published throughput on nodes of 8 H800 against simulated steps of DeepSeek-V3.

Published (deepseek-ai/open-infra-index, day 6): 73,700 input tokens a second and node in prefill,
of which 56 % came from a cache, on 4 nodes with expert parallelism 32; 14,800 output tokens in
decode on 18 nodes with expert parallelism 144, with 4,989 tokens of cache a sequence on average.

What was not published is assumed, and varied where it matters:

* batch: so many sequences a GPU, over the range that a service could run at;
* experts ``sorted`` (nothing overlaps with the exchange) or ``fused`` (the exchange runs behind the
  arithmetic, as two micro-batches in turn would have it);
* load of the experts ``balanced``, or a power law with exponent 1.2 of which the 32 redundant
  experts take the peaks;
* prompts as long as the mean cache, all with 56 % of their tokens cached;
* fp8 weights and activations, bf16 cache; attention, shared expert and dense layers on every rank
  (data parallel), the output head cut over all ranks;
* decode without drafts, or with one of the model's own that is accepted in 85 % of all cases
  (arXiv 2412.19437, section 5.4.3: 85 to 90 %), marked ``mtp``;
* attention as TensorRT-LLM's kernel, to whose measurements on an H100 the chip file's figures come
  within 12 %, or, marked ``own``, one whose loads do not set its pace: DeepSeek serves with kernels
  of its own, and publishes up to 580 TFLOP/s for latent attention on an H800 (deepseek-ai/FlashMLA)
  where the first reaches some 320 here and the second some 460;
* no time between steps but the system's host overhead.

    python benchmarks/deepseek_compare.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.config.loader import load_model, load_system
from simulator.errors import InfeasibleError
from simulator.hardware.fused_kernels import NO_LIMIT_BYTES_PER_S
from simulator.kernels import executor
from simulator.model.layout import Layout
from simulator.timing.batch import run_stages
from simulator.timing.choices import Dtypes, ExpertOptions, Speculation
from simulator.timing.plan import Plan, make_plan
from simulator.timing.step import Batch, price_batch, price_step

CONTEXT = 4989
CACHED = 0.56
GPUS = 8
PREFILL = {"nodes": 4, "published": 73_700, "batches": (1, 2, 4, 8, 16)}
LOADS = ("balanced", "power:1.2")
VARIANTS = (*LOADS, "mtp", "own", "own mtp")
DECODE = {"nodes": 18, "published": 14_800, "batches": (16, 32, 64, 96, 128)}


def plan_for(nodes: int, mode: str, load: str, drafts: int = 0, own: bool = False) -> Plan:
    """``own``: kernels that hide their loads from L2, as DeepSeek's do."""
    ranks = GPUS * nodes
    system = load_system(f"h800:{GPUS}x{nodes}")
    if own:
        fused = replace(system.chip.fused, sm_bandwidth_bytes_per_s=NO_LIMIT_BYTES_PER_S)
        system = replace(system, chip=replace(system.chip, fused=fused))
    return make_plan(
        system,
        load_model("deepseek-v3"),
        layout=Layout(dp=ranks, ep=ranks, redundant_experts=32),
        dtypes=Dtypes("fp8", "fp8", "bf16"),
        experts=ExpertOptions(mode, load),
        speculation=Speculation(drafts, 0.85),
    )


def decode(plan: Plan, each: int) -> float:
    """Output tokens a second and node with ``each`` sequences a GPU."""
    batch = each * plan.system.chips
    step = price_step(plan, phase="decode", batch=batch, context=CONTEXT)
    return step.tokens / plan.system.chips * GPUS / step.time_s


def prefill(plan: Plan, each: int) -> float:
    """Input tokens a second and node, cached ones included, with ``each`` prompts a GPU."""
    count = each * plan.system.chips
    new = np.full(count, round(CONTEXT * (1 - CACHED)), dtype=np.int64)
    batch = Batch(new, CONTEXT - new, count)
    memory = plan.memory(batch.tokens, batch.logits)
    if each * memory.kv_of(CONTEXT) > memory.kv:
        raise InfeasibleError("the prompts do not fit")
    totals = np.zeros(executor.TOTAL_FIELDS, dtype=np.int64)
    run_stages(plan.packed, price_batch(plan, batch), True, totals)
    time_s = (int(totals[executor.TIME]) + plan.system.host_ps(each)) / 1e12
    return each * GPUS * CONTEXT / time_s


def compare(name, price, case) -> None:
    print(f"{name} on {case['nodes']} nodes: published {case['published']:,} tokens/s a node")
    columns = "".join(f"{each:>9}" for each in case["batches"])
    print(f"  {'experts':8} {'load':10}{columns}   sequences a GPU")
    rates = []
    for mode in ("sorted", "fused"):
        for load in VARIANTS if price is decode else LOADS:
            kind = load if load in LOADS else "balanced"
            own = load.startswith("own")
            plan = plan_for(case["nodes"], mode, kind, int(load.endswith("mtp")), own)
            row = []
            for each in case["batches"]:
                try:
                    row.append(price(plan, each))
                except InfeasibleError:
                    row.append(None)
            rates += [rate for rate in row if rate is not None]
            cells = "".join("        -" if r is None else f"{r:9,.0f}" for r in row)
            print(f"  {mode:8} {load:10}{cells}")
    low, high = min(rates), max(rates)
    where = "inside" if low <= case["published"] <= high else "OUTSIDE"
    print(f"  range {low:,.0f} to {high:,.0f}: the published figure lies {where}\n")


if __name__ == "__main__":
    compare("prefill", prefill, PREFILL)
    compare("decode", decode, DECODE)
