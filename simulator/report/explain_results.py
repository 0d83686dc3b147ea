"""Which figures of a run, a step and a matmul are explained, and from which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.report import explain as why
from simulator.report.explain import Explanation
from simulator.report.explain_rows import (
    energies_of,
    per_token_rows,
    pool_costs,
    promise_rows,
    step_rows,
    throughput_rows,
    token_gaps,
    transfer_rows,
)
from simulator.report.figures import bytes_text, count, duration, percent, scaled
from simulator.report.json_out import seconds
from simulator.report.op_table import runner_up_line, tile_text
from simulator.report.run_explain import explain_pools
from simulator.timing.energy import energies

if TYPE_CHECKING:
    from simulator.hardware import Chip, System
    from simulator.serving.results import Distribution, RunResult
    from simulator.timing.results import MatmulTiming, StepTiming


def explain_run(
    result: RunResult, system: System, pools: Mapping[str, Sequence[System]] | None = None
) -> list[Explanation]:
    """Every figure of the run's tables.

    ``system`` is that of all replicas; ``pools`` are the systems of each where there are several.
    """
    time_s = result.serving_s
    done = result.requests.counted
    window = done / result.requests_per_s if result.requests_per_s else result.simulated_s
    tokens = round(result.output_tokens_per_s * window)
    return [
        *_latencies(result),
        token_gaps(result),
        why.ratio(
            "requests per second",
            "completed requests that arrived after the warm-up / time from its end (or the first "
            "arrival) to the last completion",
            done,
            "requests",
            window,
        ),
        why.ratio(
            "output tokens per second",
            "output tokens of the same requests / the same time",
            tokens,
            "output tokens",
            window,
        ),
        Explanation(
            "time of serving",
            "time in which a replica had work, summed over the replicas; shares are shares of it",
            f"= {time_s:.6g} s over {count(result.replicas, 'replicas')}",
            {"serving_s": time_s, "replicas": result.replicas},
        ),
        *(_of_chips(result, system) if pools is None else explain_pools(result, pools)),
        *promise_rows(result),
        *throughput_rows(result),
        *_energy_and_cost(result, system, several=pools is not None),
        *([] if pools is None else pool_costs(result, pools)),
        *per_token_rows(result),
        *transfer_rows(result),
    ]


def _of_chips(result: RunResult, system: System) -> list[Explanation]:
    """What equal chips did."""
    dtype = result.dtypes.get("activation", "bf16")
    time_s = result.serving_s
    peak = system.chip.peak_flops_per_s(dtype)
    bandwidth = system.chip.hbm.bandwidth_bytes_per_s
    each = result.chips // result.replicas
    return [
        why.mfu(result.mfu, result.flops, time_s, peak, each, dtype),
        why.mbu(result.mbu, result.min_bytes, time_s, bandwidth, each),
        why.peak(system.chip, dtype),
        why.hbm_limit(system.chip),
        why.units(result.utilization, time_s, each),
        why.bound(result.bound_by, time_s),
        why.host(system),
        why.memory(result.memory_bytes, system),
    ]


def explain_step(result: StepTiming, system: System) -> list[Explanation]:
    """Every figure of the step's tables."""
    dtype = result.dtypes.get("activation", "bf16")
    chip = system.chip
    chips = system.chips
    time_s = result.time_s
    hbm = chip.hbm.bandwidth_bytes_per_s
    operators = sum(span.duration_ps for span in result.operators)
    return [
        Explanation(
            "time of the step",
            "end of the last operator + host overhead; operators run one after another, and "
            "weights are fetched ahead where HBM is idle and SRAM has room",
            f"= {duration(result.time_s - seconds(result.host_ps))} + "
            f"{duration(seconds(result.host_ps))} = {duration(result.time_s)} "
            f"(operators add up to {duration(seconds(operators))})",
            {
                "operators_s": seconds(operators),
                "host_s": seconds(result.host_ps),
                **why.host_values(system),
                "chip.operator_overhead": duration(seconds(chip.operator_overhead_ps)),
            },
        ),
        why.ratio(
            "throughput",
            "tokens of all replicas / time of the step",
            result.tokens,
            "tokens",
            time_s,
        ),
        why.mfu(result.mfu, result.flops, time_s, chip.peak_flops_per_s(dtype), chips, dtype),
        why.mbu(result.mbu, result.min_bytes, time_s, hbm, chips),
        why.peak(chip, dtype),
        why.hbm_limit(chip),
        why.sram_limit(chip),
        why.units(result.utilization, time_s, chips),
        why.bound(result.bound_by, time_s),
        why.memory(result.memory_bytes, system),
        *step_rows(result, system),
    ]


def explain_op(result: MatmulTiming, chip: Chip) -> list[Explanation]:
    """Every figure of the matmul's table."""
    limits = result.limits_cycles
    highest = max(limits, key=lambda name: limits[name]) if limits else None
    bounds = ", ".join(f"{name} {count(int(cycles))}" for name, cycles in limits.items())
    share = percent(limits[highest] / result.cycles) if highest and result.cycles else "-"
    slowed = {"chip.sustained_clock": chip.sustained_clock} if chip.sustained_clock < 1 else {}
    return [
        Explanation(
            "cycles",
            "computing + stalled (fill, drain, waiting for a memory level, overhead)",
            f"= {count(result.compute_cycles)} + {count(result.stall_cycles)} = "
            f"{count(result.cycles)}",
            {"compute_cycles": result.compute_cycles, "stall_cycles": result.stall_cycles},
        ),
        Explanation(
            "time",
            "cycles / sustained clock" if slowed else "cycles / clock",
            f"= {count(result.cycles)} / {scaled(result.clock_hz, 'Hz')} = "
            f"{duration(result.time_s)}",
            {"cycles": result.cycles, "chip.clock": scaled(chip.clock_hz, "Hz"), **slowed},
        ),
        Explanation(
            "lower bounds",
            "2 m k n / peak FLOPs of a cycle; HBM bytes / sustained bandwidth; SRAM bytes / "
            "bandwidth, in cycles",
            f"{bounds}; the highest, {highest}, is {share} of the price",
            dict(limits),
        ),
        Explanation(
            "arithmetic",
            "2 x m x k x n",
            f"= 2 x {result.m} x {result.k} x {result.n} = {scaled(result.flops, 'FLOP')}",
            {"m": result.m, "k": result.k, "n": result.n, "flops": result.flops},
        ),
        Explanation(
            "utilization of the matrix unit",
            "FLOPs / (time x peak arithmetic of the chip)",
            f"= {scaled(result.flops, 'FLOP')} / ({duration(result.time_s)} x "
            f"{scaled(chip.peak_flops_per_s(result.dtype), 'FLOP/s')}) = "
            f"{percent(result.utilization)}",
            {"macs_per_cycle": chip.matrix.macs_per_cycle(result.dtype)},
        ),
        Explanation(
            "tile and loop order",
            _how_tiled(chip),
            f"{tile_text(result.tile)}, {result.loop_order}; {runner_up_line(result)}",
            {"hbm_bytes": result.hbm_bytes, "sram_bytes": result.sram_bytes},
        ),
        why.peak(chip, result.dtype),
        why.hbm_limit(chip),
        why.sram_limit(chip),
    ]


def _how_tiled(chip: Chip) -> str:
    kernels = getattr(chip.matrix, "kernels", None)
    if kernels is None:
        return "the cheapest of those whose working set fits the SRAM for tiles, twice over"
    rows, cols = kernels.largest_tile
    return (
        f"output tile of a multiprocessor and its part of k, the fastest of all tiles of at most "
        f"{rows} x {cols} results and all splits of k"
    )


def _latencies(result: RunResult) -> list[Explanation]:
    named: tuple[tuple[str, str, Distribution], ...] = (
        ("TTFT", "end of the last chunk of the prefill - arrival", result.ttft_s),
        ("TPOT", "(end to end - TTFT) / (output tokens - 1), if more than one", result.tpot_s),
        ("end to end", "last token - arrival", result.e2e_s),
        ("queueing", "first iteration with the request - arrival", result.queue_s),
    )
    warmup = result.options.get("warmup_s", 0.0)
    return [
        Explanation(
            name,
            formula,
            f"mean {duration(d.mean)}, p50 {duration(d.p50)}, p90 {duration(d.p90)}, "
            f"p99 {duration(d.p99)}; percentiles are linear over completed requests",
            {"completed": result.requests.completed, "warmup_s": warmup},
        )
        for name, formula, d in named
    ]


def _energy_and_cost(result: RunResult, system: System, several: bool) -> list[Explanation]:
    """Energy and cost; with ``several`` kinds of chip only how they are made up."""
    found: list[Explanation] = []
    if several:
        if result.energy_j is not None:
            found.append(
                Explanation(
                    "energy",
                    "the sum over the pools of multiply-accumulates, vector operations and bytes "
                    "of each level x their energy + idle power x time x chips",
                    f"= {scaled(result.energy_j, 'J')}",
                )
            )
        if result.cost_usd is not None:
            found.append(
                Explanation(
                    "cost",
                    "the sum over the pools of chips x price of an hour x simulated time",
                    f"= {result.cost_usd:.6g} USD in {result.simulated_s / 3600:.6g} h",
                )
            )
        return found
    energy = energies(system.chip)
    if result.energy_j is not None and energy is not None:
        traffic = result.traffic_bytes
        moved = sum(traffic.get(name, 0) for name in ("hbm_read", "hbm_write"))
        found.append(
            Explanation(
                "energy",
                "multiply-accumulates, vector operations and bytes of each level x their energy "
                "+ idle power x time x chips",
                f"= {scaled(result.energy_j, 'J')}; HBM moved {bytes_text(moved)} at "
                f"{energy.hbm_byte_pj:g} pJ a byte" + (f"; {energy.basis}" if energy.basis else ""),
                energies_of(system.chip, energy, result.dtypes.get("activation", "bf16")),
            )
        )
    price = system.chip.price_usd_per_hour
    if result.cost_usd is not None and price is not None:
        found.append(
            Explanation(
                "cost",
                "chips x price of an hour x simulated time",
                f"= {result.chips} x {price:g} USD/h x {result.simulated_s / 3600:.6g} h = "
                f"{result.cost_usd:.6g} USD",
                {"chips": result.chips, "chip.price": f"{price:g} USD/h{_basis(system.chip)}"},
            )
        )
    return found


def _basis(chip: Chip) -> str:
    """Behind a price: what it is, where the chip file says so."""
    return f" ({chip.price_basis})" if chip.price_basis else ""
