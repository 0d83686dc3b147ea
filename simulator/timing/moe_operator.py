"""The price of a layer of routed experts as an operator of its own: ``chipsim op moe``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.fabric.groups import sized_group
from simulator.fabric.pack import pack_fabric
from simulator.hardware import Chip, TensorCore
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
from simulator.timing.expert_load import parse_expert_load, version_of
from simulator.timing.hbm import resolve_memory
from simulator.timing.operator_checks import check_dtypes, check_narrow, price_by_kind
from simulator.timing.operator_timing import OperatorTiming
from simulator.timing.results import CAUSES

MODES = ("sorted", "fused")

Kind = tuple[str, str, int, int, bool]
"""(data types of arithmetic and weights, experts of a rank, ranks, whether they exchange tokens)"""

LARGEST = 2**24
LARGEST_EXPERTS = 2**14
LARGEST_FLOPS = 2**58


@dataclass(frozen=True, slots=True)
class MoeCase:
    """``tokens`` of all ranks together through ``top_k`` of ``experts`` gated feed-forward experts
    of ``hidden`` x ``intermediate``, on ``ep`` chips that hold equal parts of the experts.

    ``expert_load``: balanced, random[:SPREAD], power:ALPHA or a file of loads. ``dtype`` is that of
    activations and arithmetic, ``weight_dtype`` (the same unless given) that of the weights.
    Without ``exchange`` every chip has all tokens, as in tensor-parallel layers: only what it
    computes is priced.
    ``blocks``: activations and weights of 8 bits have scales in blocks of 128. ``kernels``: the
    library that runs the matmuls on a GPU (``kernels.expert_kernels``), ``usual`` for what an
    engine takes.
    """

    tokens: int
    hidden: int
    intermediate: int
    experts: int
    top_k: int
    ep: int = 1
    expert_load: str = "balanced"
    dtype: str = "bf16"
    weight_dtype: str | None = None
    moe: str = "sorted"
    gated: bool = True
    exchange: bool = True
    buffers: int = 0
    blocks: bool = False
    kernels: str = USUAL


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
    before = [_with_smaller_tiles(vector, bits, case) for case in cases]
    every = list(dict.fromkeys([*cases, *(each for found in before for each in found)]))
    rows = np.zeros((len(every), prices.PLAN_FIELDS), dtype=np.int64)
    tokens = np.empty(len(every), dtype=np.int64)
    modes = np.empty(len(every), dtype=np.int64)
    loads = np.empty((len(every), local))
    for place, case in enumerate(every):
        _fill(case, rows[place])
        tokens[place] = _own_tokens(case)
        modes[place] = MODES.index(case.moe)
        loads[place] = _load_of(case)
    out = np.empty((len(every), executor.PRICE_FIELDS), dtype=np.int64)
    extra = np.empty((len(every), steps.EXTRA_FIELDS), dtype=np.int64)
    kernels.count_cases(vector, table, bits, rows, tokens, loads, modes, out, extra)
    found = dict(zip(every, zip(out.tolist(), extra.tolist(), strict=True), strict=True))
    timings = []
    for case, smaller in zip(cases, before, strict=True):
        price, beside = found[case]
        least = max((found[each][0][executor.DURATION] for each in smaller), default=0)
        price[executor.DURATION] = max(price[executor.DURATION], least)
        timings.append(_timing(chip, vector, case, price, beside))
    return timings


def _own_tokens(case: MoeCase) -> int:
    """Tokens of a rank before routing."""
    return -(-case.tokens // case.ep) if case.exchange else case.tokens


def _with_smaller_tiles(vector: Int64Array, bits: Int64Array, case: MoeCase) -> list[MoeCase]:
    """The case with as many tokens as each smaller tile would still be taken for."""
    row = np.zeros(prices.PLAN_FIELDS, dtype=np.int64)
    _fill(case, row)
    one, version = replace(case, tokens=1), version_of(case.expert_load)
    mean = _mean_load(case)
    found = []
    for limit in limits_of(vector, bits, row):
        if mean <= limit:
            break
        tokens = _tokens_with(one, version, limit)
        if tokens > 0:
            found.append(replace(case, tokens=tokens))
    return found


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
    return float(kernels.mean_load(row, own, group, _load_of(case)))


def _load_of(case: MoeCase) -> Float64Array:
    version = version_of(case.expert_load)
    return _load(case.expert_load, version, case.experts, case.ep, case.tokens, case.top_k)


def check_case(case: MoeCase, chip: Chip) -> None:
    """Raise InputError where a case is not one that can be priced."""
    limits = (
        ("tokens", case.tokens, LARGEST),
        ("hidden", case.hidden, LARGEST),
        ("intermediate", case.intermediate, LARGEST),
        ("experts", case.experts, LARGEST_EXPERTS),
        ("top_k", case.top_k, LARGEST_EXPERTS),
        ("ep", case.ep, LARGEST_EXPERTS),
    )
    for name, value, most in limits:
        if not 1 <= value <= most:
            raise InputError(f"{name}: found {value}, expected 1 to {most}")
    if case.top_k > case.experts:
        raise InputError(f"top_k {case.top_k} is more than the {case.experts} experts")
    if case.experts % case.ep:
        raise InputError(
            f"{case.experts} experts do not divide over {case.ep} expert-parallel chips"
        )
    if 6 * case.tokens * case.top_k * case.hidden * case.intermediate > LARGEST_FLOPS:
        raise InputError("the layer has more than 2^58 flops")
    if case.moe not in MODES:
        raise InputError(
            f"moe: found '{case.moe}', expected sorted or fused",
            hint=did_you_mean(case.moe, MODES),
        )
    check_dtypes(chip, case.dtype, case.weight_dtype)
    check_narrow(case.dtype, case.weight_dtype or case.dtype)
    if case.blocks and {BITS[case.dtype], BITS[case.weight_dtype or case.dtype]} != {8}:
        raise InputError(
            f"blocks: found dtype {case.dtype} and weights {case.weight_dtype or case.dtype}",
            hint="scales in blocks are priced for activations and weights of 8 bits",
        )
    _check_kernels(case, chip)


def _check_kernels(case: MoeCase, chip: Chip) -> None:
    """Refuse a library that has no kernels for a case."""
    weights = case.weight_dtype or case.dtype
    if case.kernels == USUAL:
        return
    if case.kernels not in LIBRARIES:
        raise InputError(
            f"kernels: found '{case.kernels}', expected {', '.join((USUAL, *LIBRARIES))}",
            hint=did_you_mean(case.kernels, (USUAL, *LIBRARIES)),
        )
    if not isinstance(chip.matrix, TensorCore):
        raise InputError(
            f"kernels: found '{case.kernels}' for chip {chip.name}, which is no GPU",
            hint=f"only '{USUAL}' is priced there",
        )
    narrow = BITS[weights] == 4 and BITS[case.dtype] == 16
    only = {"marlin": narrow, "openai": narrow and weights != "int4"}
    if not only.get(case.kernels, weights != "int4"):
        raise InputError(
            f"kernels: found '{case.kernels}' for dtype {case.dtype} and weights {weights}",
            hint="marlin and openai have 4-bit weights and 16-bit activations; int4 only marlin",
        )


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
