"""Servers of models with experts: time per output token, measured and priced.

    python benchmarks/expert_servers.py [--fit] [--load LOAD] [CHIP]...

Rows are the aggregated servers of aiconfigurator-core (the extra ``chipsim[validate]``) of
models with experts that there are model files for, on H100, H200 and B200. They are priced by the
formula of ``chipsim validate --operator server`` (docs/accuracy.md). Ranks of data-parallel
attention get their prompts in the same iterations. Nothing is fitted to them but, with ``--fit``,
the host of vLLM from 0.14 on (``configs/engines/vllm-async.yaml``): to half of its rows on Hopper,
and of Kimi K2.5.

Printed are mean error, bias and median by chip, model, engine and layout, and the bias by the
requests that a rank has in flight; on stderr how many rows are left out, and why.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from simulator.api import LayoutOptions, load_engine, load_system, price_step
from simulator.errors import ChipsimError
from simulator.timing.results import StepTiming
from simulator.validation.silicon import package_folder

MODELS = {
    "deepseek-ai/DeepSeek-R1": "deepseek-r1",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "moonshotai/Kimi-K2.5": "kimi-k2",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b",
    "Qwen/Qwen3-235B-A22B": "qwen3-235b",
}
CHIPS = {"h100_sxm": "h100", "h200_sxm": "h200", "b200_sxm": "b200"}
WEIGHTS = {"fp8": "fp8", "fp8_block": "fp8", "nvfp4": "fp4", "int4_wo": "int4"}
BANDS = (4, 16, 64)
"""Requests of a rank: up to 4, to 16, to 64, more."""
ASYNC = (0, 14)
"""vLLM's first version in which async scheduling is on by default (release notes, PR 27614)."""


@dataclass(frozen=True)
class Row:
    """A measured server: ``batch`` requests a rank, seconds to and between tokens."""

    chip: str
    model: str
    engine: str
    weights: str
    layout: str
    ranks: int
    batch: int
    prompt: int
    output: int
    first_s: float
    token_s: float


def read(wanted: set[str], left: Counter[str]) -> Iterator[Row]:
    """The rows of the wanted chips; ``left`` counts the others by reason."""
    with (package_folder() / "silicon_sample.csv").open(newline="", encoding="utf-8") as stream:
        for cells in csv.DictReader(stream):
            model = MODELS.get(cells["model_path"])
            if cells["mode"] != "agg" or CHIPS.get(cells["system"]) not in wanted or not model:
                continue
            reason = _refusal(cells)
            if reason:
                left[reason] += 1
            else:
                yield _row(cells, model)


def _row(cells: dict[str, str], model: str) -> Row:
    tp, ranks, _, ep = _degrees(cells)
    parts = [f"tp{tp}"] if tp > 1 or ranks == 1 else []
    parts += [f"dp{ranks}"] if ranks > 1 else []
    parts += [f"ep{ep}"] if ep > 1 else []
    return Row(
        CHIPS[cells["system"]],
        model,
        _engine(cells),
        WEIGHTS[cells["gemm_quant_mode"]],
        "-".join(parts),
        ranks,
        int(float(cells["batch_size"])),
        int(cells["isl"]),
        int(cells["osl"]),
        float(cells["silicon_ttft_ms"] or "nan") / 1e3,
        float(cells["silicon_tpot_ms"]) / 1e3,
    )


def _refusal(cells: dict[str, str]) -> str | None:
    """Why a row is not priced, or None."""
    tp, ranks, moe_tp, ep = _degrees(cells)
    named = re.search(r"_tp(\d+)(?:_0)?_ep(\d+)", cells["id"])
    if tp * ranks > 8 or tp * ranks != moe_tp * ep or (named and int(named[1]) != tp * ranks):
        return "degrees that do not multiply up, or differ from the row's name"
    if cells["gemm_quant_mode"] not in WEIGHTS:
        return f"no price for {cells['gemm_quant_mode'] or 'an unnamed data type'}"
    if "DeepSeek" in cells["model_path"] and _may_draft(cells):
        return "DeepSeek that may draft tokens: equal rows differ by up to 2.3 times"
    waits = float(cells["silicon_ttft_ms"] or 0)
    if waits > int(cells["osl"]) * float(cells["silicon_tpot_ms"]):
        return "waits longer for its first token than for all others: not all requests run"
    return None


def _may_draft(cells: dict[str, str]) -> bool:
    """Runs of 2026 of TensorRT-LLM, and all on B200."""
    late = re.search(r"measured=2026", cells["silicon_data_source"]) is not None
    return late and (cells["backend"] == "trtllm" or cells["system"] == "b200_sxm")


def _degrees(cells: dict[str, str]) -> tuple[int, int, int, int]:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    tp, ranks, moe_tp, ep = (max(1, int(float(cells[name] or 1))) for name in names)
    return tp, ranks, moe_tp, ep


def _engine(cells: dict[str, str]) -> str:
    version = tuple(int(n) for n in re.findall(r"\d+", cells["backend_version"])[:2])
    late = cells["backend"] == "vllm" and version >= ASYNC
    return "vllm-async" if late else cells["backend"]


@cache
def step(
    row: Row, phase: str, batch: int, context: int, activation: str, load: str | None
) -> StepTiming:
    """A step of the row's server, whose batch and lengths are not looked at."""
    count = int(np.prod([int(n) for n in re.findall(r"(?:tp|dp)(\d+)", row.layout)]))
    system = load_system(row.chip if count == 1 else f"{row.chip}:{count}")
    eight = row.weights != "int4" and row.model != "gpt-oss-120b"
    return price_step(
        system.under(load_engine(row.engine)),
        row.model,
        phase=phase,
        batch=batch,
        context=context,
        weight_dtype=row.weights,
        activation_dtype=activation,
        kv_dtype="fp8" if eight else "bf16",
        layout=LayoutOptions(layout=row.layout, expert_load=load),
    )


def chip_s(row: Row, phase: str, batch: int, context: int, load: str | None) -> float:
    """Seconds of a step without the host: matmuls and experts in the weights' arithmetic, all
    else in 16 bits."""
    narrow = {"fp8": "fp8", "fp4": "fp4", "int4": "bf16"}[row.weights]
    kinds: tuple[str, ...] = ("matmul", "moe")
    if row.model == "gpt-oss-120b":
        # mxfp4 for experts alone; their activations have 8 bits on Blackwell
        # (VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8, and TensorRT-LLM's default there)
        narrow, kinds = ("fp8" if row.chip == "b200" else "bf16"), ("moe",)
    # the same for all rows of a server, which ``step`` remembers
    server = replace(row, ranks=1, batch=0, prompt=0, output=0, first_s=0, token_s=0)
    rest = step(server, phase, batch, context, "bf16", load)
    own = step(server, phase, batch, context, narrow, load)
    total = sum(span.duration_ps for span in own.operators if span.kind in kinds)
    total += sum(span.duration_ps for span in rest.operators if span.kind not in kinds)
    return total / 1e12


def chip_time(row: Row, load: str | None) -> float:
    """Seconds that the chip takes for a token, with the prompts that come between."""
    decode = chip_s(row, "decode", row.batch * row.ranks, row.prompt + row.output // 2, load)
    if row.batch == 1:
        return decode
    prompts = (row.batch - 1) / row.output * chip_s(row, "prefill", row.ranks, row.prompt, load)
    return decode + load_engine(row.engine).prompt_wait * prompts


def fit(rows: list[Row], chip: list[float]) -> None:
    """The host of vLLM with async scheduling, on half of its rows."""
    # it needs scipy, which the prices do not
    from fit_engines import MOST_MS, fit_host

    ours = [
        (row.batch, priced, row.token_s)
        for row, priced in zip(rows, chip, strict=True)
        if row.engine == "vllm-async" and (row.chip != "b200" or row.weights == "int4")
    ]
    batch, priced, measured = np.array(ours).T
    fit_host("vllm-async", priced, batch, measured, MOST_MS, seed=0)


def report(rows: list[Row], chip: list[float]) -> None:
    """A line for each group of rows, one for each chip, and one for all."""
    groups: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row, priced in zip(rows, chip, strict=True):
        host = load_system(row.chip).under(load_engine(row.engine)).host_ps(row.batch) / 1e12
        one = (row.batch, 100 * ((priced + host) / row.token_s - 1))
        groups[f"{row.chip},{row.model},{row.engine},{row.weights},{row.layout}"].append(one)
        groups[f"{row.chip},all,,,"].append(one)
        groups["all,,,,"].append(one)
    bands = ("to_4", "5_to_16", "17_to_64", "above_64")
    print("chip,model,engine,weights,layout,rows,mean_percent,bias_percent,median_percent,", end="")
    print(",".join(f"bias_batch_{band}_percent" for band in bands))
    for name in sorted(groups, key=lambda name: (name.startswith("all"), name)):
        batch, off = np.array(groups[name]).T
        band = np.searchsorted(BANDS, batch)
        parts = [f"{off[band == i].mean():.1f}" if (band == i).any() else "" for i in range(4)]
        figures = (np.abs(off).mean(), off.mean(), np.median(np.abs(off)))
        print(f"{name},{len(off)},{','.join(f'{x:.1f}' for x in figures)},{','.join(parts)}")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chip", metavar="CHIP", nargs="*", help="h100, h200, b200; all without")
    parser.add_argument("--fit", action="store_true", help="fit vLLM's host to half of its rows")
    parser.add_argument("--load", help="of experts, as --expert-load; without that of the engine")
    given = parser.parse_args(words)
    left: Counter[str] = Counter()
    rows, chip = [], []
    for row in dict.fromkeys(read(set(given.chip) or set(CHIPS.values()), left)):
        try:
            chip.append(chip_time(row, given.load))
            rows.append(row)
        except ChipsimError as error:
            left[f"{row.chip} {row.model} {row.layout}: {error.message[:60]}"] += 1
    for reason, count in sorted(left.items()):
        print(f"left out: {count} rows: {reason}", file=sys.stderr)
    if given.fit:
        fit(rows, chip)
    report(rows, chip)
    return 0


if __name__ == "__main__":
    sys.exit(main())
