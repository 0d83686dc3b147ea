"""Explanations of the rows of a run's and a step's tables that are counts, means and sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.hardware.matrix_unit import rate_of
from simulator.report.explain import Explanation
from simulator.report.figures import bytes_text, count, duration, mean, percent, rate, scaled, usd
from simulator.timing.energy import energies

if TYPE_CHECKING:
    from simulator.hardware import Chip, Energy, System
    from simulator.serving.results import RunResult
    from simulator.timing.results import StepTiming


def token_gaps(result: RunResult) -> Explanation:
    """The time between two tokens."""
    gaps = result.itl_s
    return Explanation(
        "between two tokens (ITL)",
        "time between two consecutive tokens of a request; every gap of every request counts once, "
        "those before --warmup too",
        f"mean {duration(gaps.mean)}, p50 {duration(gaps.p50)}, p99 {duration(gaps.p99)}; "
        "percentiles come from a histogram and are good to 0.4 %",
        {"output_tokens": result.requests.output_tokens},
    )


def throughput_rows(result: RunResult) -> list[Explanation]:
    """Rates a chip and a user, and what iterations were made of."""
    per_s, iterations = result.output_tokens_per_s, result.iterations
    sequences = result.mean_batch * iterations
    tokens = result.mean_tokens_per_iteration * iterations
    rows = [
        Explanation(
            "output tokens of a chip",
            "output tokens per second / chips",
            f"= {rate(per_s, 'tokens')} / {result.chips} = "
            f"{rate(result.output_tokens_per_s_per_chip, 'tokens')}",
            {"output_tokens_per_s": per_s, "chips": result.chips},
        ),
        Explanation(
            "output tokens of a user",
            "1 / mean TPOT",
            f"= 1 / {duration(result.tpot_s.mean)} = "
            f"{rate(result.output_tokens_per_s_per_user, 'tokens')}",
            {"tpot_mean_s": result.tpot_s.mean},
        ),
        Explanation(
            "in the system, mean",
            "sum of the requests' times from arrival to the last token / simulated time (Little)",
            f"= {mean(result.mean_requests_in_system, 'requests')} over "
            f"{duration(result.simulated_s)}",
            {"simulated_s": result.simulated_s},
        ),
        Explanation(
            "iterations, batch and tokens",
            "steps of all replicas; sequences, and tokens that were computed, of an iteration on "
            "average",
            f"{sequences:,.0f} sequences and {tokens:,.0f} tokens / {count(iterations)} iterations "
            f"= {result.mean_batch:,.1f} and {result.mean_tokens_per_iteration:,.1f}",
            {"iterations": iterations, **_limits(result)},
        ),
        Explanation(
            "preemptions",
            "how often a running sequence gave up its KV blocks to another and began anew or was "
            "swapped",
            count(result.preemptions, "preemptions"),
            {"preemption": result.options.get("preemption")},
        ),
    ]
    if result.prefix_hit_rate is not None:
        rows.append(
            Explanation(
                "prompt tokens from the prefix cache",
                "cached / all prompt tokens, counted when a request is first admitted",
                percent(result.prefix_hit_rate),
            )
        )
    if "mean_fraction" in result.kv:
        rows.append(
            Explanation(
                "KV cache in use",
                "blocks in use / blocks: the most of any replica, and the mean over time in "
                "iterations",
                f"peak {percent(result.kv['peak_fraction'])}, mean "
                f"{percent(result.kv['mean_fraction'])}",
                dict(result.kv),
            )
        )
    return rows


def _limits(result: RunResult) -> dict[str, object]:
    chosen = result.options
    return {name: chosen[name] for name in ("max_batch", "token_budget") if name in chosen}


def per_token_rows(result: RunResult) -> list[Explanation]:
    """What one output token, or a million of them, took."""
    tokens = result.requests.output_tokens
    rows = []
    if tokens and result.energy_j is not None:
        rows.append(
            Explanation(
                "energy of an output token",
                "energy / output tokens of all requests",
                f"= {scaled(result.energy_j, 'J')} / {count(tokens)} = "
                f"{scaled(result.energy_j / tokens, 'J')}",
                {"energy_j": result.energy_j, "output_tokens": tokens},
            )
        )
    if tokens and result.cost_usd is not None:
        rows.append(
            Explanation(
                "cost of a million output tokens",
                "cost / output tokens of all requests x 1,000,000",
                f"= {usd(result.cost_usd)} / {count(tokens)} x 1,000,000 = "
                f"{usd(result.cost_usd / tokens * 1e6)}",
                {"cost_usd": result.cost_usd, "output_tokens": tokens},
            )
        )
    return rows


def pool_costs(result: RunResult, systems: Mapping[str, Sequence[System]]) -> list[Explanation]:
    """The part of the cost that each pool has; nothing of a pool with several kinds of chip."""
    rows = []
    hours = result.simulated_s / 3600
    for role, pool in result.pools.items():
        prices = {system.chip.price_usd_per_hour for system in systems[role]}
        price = next(iter(prices))
        if len(prices) > 1 or price is None:
            continue
        cost = pool.chips * price * hours
        rows.append(
            Explanation(
                f"cost ({role})",
                "chips of the pool x price of an hour x simulated time",
                f"= {pool.chips} x {price:g} USD/h x {hours:.6g} h = {usd(cost)}",
                {"chips": pool.chips, "chip.price": f"{price:g} USD/h"},
            )
        )
    return rows


def energies_of(chip: Chip, energy: Energy, dtype: str) -> dict[str, str]:
    """The values of the chip file that its energies come from."""
    mac = f"{energy.mac_pj[rate_of(dtype)]:.3g} pJ"
    if chip.power.energy is None:  # those of a GPU's power model, but for what is stated
        return {
            "chip.matrix.kernels.mac_energy": f"{mac} in {dtype}",
            "chip.power.tdp": f"{chip.power.tdp_w:g} W, of which {energy.idle_w:g} W idle",
            **{f"energy {name}": f"{figure:g}, stated" for name, figure in chip.power.stated},
        }
    return {
        f"chip.power.energy.mac.{dtype}": mac,
        "chip.power.energy.hbm_byte": f"{energy.hbm_byte_pj:g} pJ",
        "chip.power.energy.idle": f"{energy.idle_w:g} W",
    }


def step_rows(result: StepTiming, system: System) -> list[Explanation]:
    """Arithmetic, traffic and energy of a step."""
    traffic = result.traffic_bytes
    read, written = traffic.get("hbm_read", 0), traffic.get("hbm_write", 0)
    rows = [
        Explanation(
            "arithmetic of the model",
            "2 x matmul parameters x tokens, output head and attention as under MFU, without "
            "padding, of all replicas",
            f"= {scaled(result.flops, 'FLOP')} for {count(result.tokens, 'tokens')}",
            {"flops": result.flops, "tokens": result.tokens},
        ),
        Explanation(
            "HBM traffic",
            "bytes that the operators of all chips read and write: weights, KV cache, and "
            "activations that do not stay on chip",
            f"{bytes_text(read)} read, {bytes_text(written)} written",
            {"hbm_read_bytes": read, "hbm_write_bytes": written},
        ),
        Explanation(
            "fabric traffic",
            "bytes that all chips send in collectives",
            bytes_text(traffic.get("fabric", 0)),
            {"fabric_bytes": traffic.get("fabric", 0)},
        ),
    ]
    energy = energies(system.chip)
    if result.energy_j is not None and energy is not None:
        basis = f"; {energy.basis}" if energy.basis else ""
        rows.append(
            Explanation(
                "energy",
                "multiply-accumulates, vector operations and bytes of each level x their energy "
                "+ idle power x time x chips, at most the power limit",
                f"= {scaled(result.energy_j, 'J')}; HBM moved {bytes_text(read + written)} at "
                f"{energy.hbm_byte_pj:g} pJ a byte{basis}",
                energies_of(system.chip, energy, result.dtypes.get("activation", "bf16")),
            )
        )
    return rows


def promise_rows(result: RunResult) -> list[Explanation]:
    """What the requests were promised, and how many kept it."""
    if result.goodput is None:
        return []
    found = result.goodput
    counted = sum(entry.requests for entry in found.classes.values())
    met = sum(entry.met for entry in found.classes.values())
    return [
        Explanation(
            "service level and goodput",
            "requests that kept every limit / requests that arrived after the warm-up, refused "
            "and lost ones among them; and the former / the time of requests per second",
            f"= {count(met)} / {count(counted)} = {percent(found.attainment)}, "
            f"{rate(found.goodput_requests_per_s, 'requests')}",
            {"met": met, "requests": counted},
        )
    ]


def transfer_rows(result: RunResult) -> list[Explanation]:
    """How KV caches moved from prefill to decode replicas."""
    moved = result.kv_transfer
    if moved is None:
        return []
    return [
        Explanation(
            "KV transfer",
            "time from the first byte that may leave to the last that arrives; before it the wait "
            "for blocks, of both what the prefill hides, and the rest after the first token",
            f"{bytes_text(moved.bytes)} in {count(moved.transfers, 'transfers')}: "
            f"{duration(moved.time_s.mean)} and {duration(moved.queue_s.mean)} on average, "
            f"{duration(moved.overlapped_s)} hidden, {duration(moved.exposed_s)} not; busiest link "
            f"{percent(moved.link_utilization)} of the simulated time in use",
            {"bytes": moved.bytes, "transfers": moved.transfers},
        )
    ]
