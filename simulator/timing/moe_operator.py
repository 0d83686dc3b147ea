"""The price of a layer of routed experts as an operator of its own: ``chipsim op moe``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from simulator.errors import InputError
from simulator.fabric.groups import sized_group
from simulator.fabric.pack import pack_fabric
from simulator.hardware import Chip
from simulator.hardware.fabric import Fabric
from simulator.hardware.fused_kernels import USUAL
from simulator.kernels import executor
from simulator.kernels.arithmetic import scale_up
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.chip_vector import CLOCK_HZ, HBM_BYTES_PER_S, SRAM_BYTES_PER_S
from simulator.kernels.expert_kernels import LIBRARIES
from simulator.mapping.memory import BITS
from simulator.timing import expert_steps as steps
from simulator.timing import moe_prices as kernels
from simulator.timing import prices
from simulator.timing.expert_form import expert_form
from simulator.timing.expert_limits import last_below, limits_of
from simulator.timing.expert_load import balanced, parse_expert_load, version_of
from simulator.timing.hbm import resolve_memory
from simulator.timing.moe_case import MODES, MoeCase, check_case
from simulator.timing.operator_checks import price_by_kind
from simulator.timing.operator_timing import OperatorTiming
from simulator.timing.results import CAUSES

Kind = tuple[str, str, int, int, bool]
"""(data types of arithmetic and weights, experts of a rank, ranks, whether they exchange tokens)"""

Count = Callable[[Sequence[MoeCase]], tuple[list[list[int]], list[list[int]]]]
"""Prices of cases of one kind, and what is counted beside."""


def price_moes(
    chip: Chip, cases: Sequence[MoeCase], fabric: Fabric | None = None
) -> list[OperatorTiming]:
    """Price each case on the busiest chip of its expert group, which is a part of ``fabric``.

    Raises InputError for sizes out of range, experts that ``ep`` does not divide, ``ep`` above 1
    without a fabric, a bad expert load, an unknown mode or a dtype without a rate.
    """
    chip = resolve_memory(chip)

    def kind(case: MoeCase) -> Kind:
        check_case(case, chip)
        exchange = case.exchange and case.ep > 1
        weights = case.weight_dtype or case.dtype
        return case.dtype, weights, case.experts // case.ep, case.ep, exchange

    return price_by_kind(cases, kind, lambda key, members: _price_group(chip, fabric, key, members))


def _price_group(
    chip: Chip, fabric: Fabric | None, kind: Kind, cases: Sequence[MoeCase]
) -> list[OperatorTiming]:
    """Cases of one kind, whose rows have the same length; see ``timing.expert_limits``."""
    dtype, weights, local, ep, exchange = kind
    vector = pack_chip(chip, dtype)
    bits = np.array([BITS[weights], BITS[dtype], BITS[dtype], BITS[dtype]], dtype=np.int64)
    table = _table(fabric, ep) if exchange else np.zeros(1, dtype=np.int64)
    count = partial(_count, vector, table, bits, local)
    least = _at_limits(vector, bits, cases, count)
    timings = []
    for case, price, beside in zip(cases, *count(cases), strict=True):
        below = (ps for tokens, ps in least[_layer(case)] if tokens < case.tokens)
        price[executor.DURATION] = max(price[executor.DURATION], *below, 0)
        timings.append(_timing(chip, vector, case, price, beside))
    return timings


def _count(
    vector: Int64Array, table: Int64Array, bits: Int64Array, local: int, cases: Sequence[MoeCase]
) -> tuple[list[list[int]], list[list[int]]]:
    """Prices of cases with ``local`` experts a rank, and what ``expert_steps`` counts beside."""
    rows = np.zeros((len(cases), prices.PLAN_FIELDS), dtype=np.int64)
    tokens = np.empty(len(cases), dtype=np.int64)
    modes = np.empty(len(cases), dtype=np.int64)
    loads = np.empty((len(cases), local))
    for place, case in enumerate(cases):
        _fill(case, rows[place])
        tokens[place] = _own_tokens(case)
        modes[place] = MODES.index(case.moe)
        loads[place] = _load_of(case)
    out = np.empty((len(cases), executor.PRICE_FIELDS), dtype=np.int64)
    extra = np.empty((len(cases), steps.EXTRA_FIELDS), dtype=np.int64)
    kernels.count_cases(vector, table, bits, rows, tokens, loads, modes, out, extra)
    return out.tolist(), extra.tolist()


def _own_tokens(case: MoeCase) -> int:
    """Tokens of a rank before routing."""
    return -(-case.tokens // case.ep) if case.exchange else case.tokens


def _layer(case: MoeCase) -> MoeCase:
    """What cases that differ in tokens alone have in common."""
    return replace(case, tokens=1)


def _at_limits(
    vector: Int64Array, bits: Int64Array, cases: Sequence[MoeCase], count: Count
) -> dict[MoeCase, list[tuple[int, int]]]:
    """(the most tokens of a tile, picoseconds with them) for the tiles of each layer that are
    smaller than those of its most tokens."""
    most: dict[MoeCase, int] = {}
    for case in cases:
        layer = _layer(case)
        most[layer] = max(case.tokens, most.get(layer, 0))
    found = {layer: _below(vector, bits, layer, tokens) for layer, tokens in most.items()}
    every = [each for several in found.values() for each in several]
    durations = iter([price[executor.DURATION] for price in count(every)[0]])
    return {
        layer: [(each.tokens, next(durations)) for each in several]
        for layer, several in found.items()
    }


def _below(vector: Int64Array, bits: Int64Array, layer: MoeCase, most: int) -> list[MoeCase]:
    """The layer with the most tokens of each tile that is smaller than with ``most`` tokens."""
    row = np.zeros(prices.PLAN_FIELDS, dtype=np.int64)
    _fill(layer, row)
    limits = limits_of(vector, bits, row)
    if not limits:
        return []
    version, mean = version_of(layer.expert_load), _mean_load(replace(layer, tokens=most))
    tokens = [_tokens_with(layer, version, limit) for limit in limits if limit < mean]
    return [replace(layer, tokens=each) for each in tokens if each > 0]


@lru_cache(maxsize=4096)
def _tokens_with(one: MoeCase, version: tuple[int, int] | None, limit: float) -> int:
    """The most tokens with which a layer that has ``one`` has a mean load of at most ``limit``;
    kept until a file of loads is of another ``version``."""
    tokens = 1
    while _mean_load(replace(one, tokens=tokens)) <= limit:
        tokens *= 2
    return last_below(lambda n: _mean_load(replace(one, tokens=n)), limit, tokens)


def _mean_load(case: MoeCase) -> float:
    row = np.zeros(prices.PLAN_FIELDS, dtype=np.int64)
    _fill(case, row)
    own = _own_tokens(case)
    group = own * case.ep if case.exchange else own
    # a rank that has all tokens sees them all, however they are routed
    load = _load_of(case) if case.exchange else balanced(case.experts, case.ep)
    return float(kernels.mean_load(row, own, group, load))


def _load_of(case: MoeCase) -> Float64Array:
    version = version_of(case.expert_load)
    return _load(case.expert_load, version, case.experts, case.ep, case.tokens, case.top_k)


@lru_cache(maxsize=4096)
def _load(
    text: str, version: tuple[int, int] | None, experts: int, ep: int, tokens: int, top_k: int
) -> Float64Array:
    """The shares, kept until a file of loads is of another ``version``."""
    return parse_expert_load(text, experts, ep, tokens, top_k)


@lru_cache(maxsize=64)
def _table(fabric: Fabric | None, ep: int) -> Int64Array:
    if fabric is None:
        raise InputError(
            f"expert parallelism over {ep} chips needs a fabric",
            hint="give a chip that a system of the same name connects, or ep 1",
        )
    return pack_fabric(sized_group(fabric, ep), ("all-to-all",))


def _fill(case: MoeCase, row: Int64Array) -> None:
    row[prices.PLAN_K] = case.hidden
    row[prices.PLAN_N] = case.intermediate
    row[prices.PLAN_EXPERTS] = case.experts
    row[prices.PLAN_TOP_K] = case.top_k
    row[prices.PLAN_GATED] = int(case.gated)
    row[prices.PLAN_RANKS] = case.ep
    row[prices.PLAN_BUFFERS] = case.buffers
    row[prices.PLAN_LOCAL] = int(not case.exchange)
    weights = case.weight_dtype or case.dtype
    row[prices.PLAN_EXPERT_FORM] = expert_form(weights, case.dtype, case.blocks)
    if case.kernels != USUAL:
        row[prices.PLAN_EXPERT_KERNELS] = 1 + LIBRARIES.index(case.kernels)


def _timing(
    chip: Chip, vector: Int64Array, case: MoeCase, out: list[int], extra: list[int]
) -> OperatorTiming:
    clock = int(vector[CLOCK_HZ])
    busy = tuple(out[executor.MATRIX + unit] * clock // 10**12 for unit in range(5))
    cycles = -(-out[executor.DURATION] * clock // 10**12)
    flops = extra[steps.EXTRA_FLOPS]
    peak = 2 * chip.matrix.macs_per_cycle(case.dtype)
    moved = out[executor.READ] + out[executor.WRITE]
    sram = extra[steps.EXTRA_SRAM_BYTES]
    return OperatorTiming(
        kind="moe",
        chip=chip.name,
        given={
            "tokens": case.tokens,
            "hidden": case.hidden,
            "intermediate": case.intermediate,
            "experts": case.experts,
            "top_k": case.top_k,
            "ep": case.ep,
            "expert_load": case.expert_load,
            "dtype": case.dtype,
            "weight_dtype": case.weight_dtype or case.dtype,
            "moe": case.moe,
            **({"blocks": True} if case.blocks else {}),
            **({} if case.kernels == USUAL else {"kernels": case.kernels}),
            "busiest_chip_assignments": extra[steps.EXTRA_RECEIVED],
        },
        clock_hz=clock,
        cycles=cycles,
        time_s=out[executor.DURATION] / 1e12,
        bound_by=CAUSES[out[executor.CAUSE]],
        busy=busy,
        hbm_read_bytes=out[executor.READ],
        hbm_write_bytes=out[executor.WRITE],
        sram_bytes=sram,
        fabric_bytes=out[executor.SENT],
        flops=flops,
        utilization=flops * clock / (chip.peak_flops_per_s(case.dtype) * cycles),
        limits_cycles={
            "peak": -(-flops // peak),
            "hbm": int(scale_up(moved, clock, int(vector[HBM_BYTES_PER_S]))),
            "sram": int(scale_up(sram, clock, int(vector[SRAM_BYTES_PER_S]))),
        },
    )
