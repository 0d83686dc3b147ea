"""The price of one iteration: a batch of sequences through a model on a system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.errors import InfeasibleError, InputError
from simulator.kernels import executor
from simulator.mapping.memory import Memory, plan_memory
from simulator.model.operators import Attention, Collective, Elementwise, Gather, Matmul, Operator
from simulator.timing.batch import price_sequences
from simulator.timing.energy import energy_j
from simulator.timing.plan import Plan
from simulator.timing.results import CAUSES, UNITS, OperatorSpan, StepTiming
from simulator.units import format_bytes

Int64Array = npt.NDArray[np.int64]


LONGEST_STEP_PS = 10**17
"""A step of more than a day is a mistake in a configuration."""


@dataclass(frozen=True, slots=True)
class Batch:
    """``new[i]`` tokens of sequence i after ``past[i]`` cached ones; ``logits`` positions."""

    new: Int64Array
    past: Int64Array
    logits: int

    @property
    def tokens(self) -> int:
        """Tokens computed."""
        return int(self.new.sum())

    @property
    def pairs(self) -> int:
        """Unmasked query-key pairs of one head in one layer that sees the whole context."""
        return int((self.new * self.past + self.new * (self.new + 1) // 2).sum())

    def window_pairs(self, window: int | None) -> int:
        """Those in a layer that sees the last ``window`` keys."""
        if window is None:
            return self.pairs
        whole = np.clip(window - self.past, 0, self.new)
        first = whole * self.past + whole * (whole + 1) // 2
        return int((first + (self.new - whole) * window).sum())


def uniform_batch(phase: str, sequences: int, context: int) -> Batch:
    """A batch of equal sequences: whole prompts (prefill) or one token each (decode)."""
    ones = np.ones(sequences, dtype=np.int64)
    if phase == "prefill":
        return Batch(new=ones * context, past=ones * 0, logits=sequences)
    return Batch(new=ones, past=ones * context, logits=sequences)


def price_batch(plan: Plan, batch: Batch) -> Int64Array:
    """Prices of every operator for a batch, int64[operators, 2, PRICE_FIELDS]."""
    prices = np.zeros((len(plan.rows), 2, executor.PRICE_FIELDS), dtype=np.int64)
    plan.price_rows(batch.tokens, False, prices)
    plan.price_rows(batch.logits, True, prices)
    price_sequences(plan.packed, batch.new, batch.past, prices)
    return prices


def execute(plan: Plan, prices: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(totals, spans) of a step; see ``kernels.executor``."""
    executed = int((plan.sections[:, 1] * plan.sections[:, 2]).sum())
    totals = np.zeros(executor.TOTAL_FIELDS, dtype=np.int64)
    spans = np.zeros((executed, executor.SPAN_FIELDS), dtype=np.int64)
    executor.execute(prices, plan.weighted, plan.sections, totals, spans)
    return totals, spans


def minimum_bytes(plan: Plan, batch: Batch) -> int:
    """Weights and KV cache of one group read once: the numerator of MBU.

    The input embedding is left out, because a step reads single rows of it.
    """
    weights = plan.model.touched_matmul_parameters(batch.tokens)
    if batch.logits:
        weights += plan.model.head_parameters
    cache = plan.model.kv_elements_per_token * int(batch.past.sum())
    weight_bits, _, kv_bits = (int(b) for b in plan.bits)
    return (weights * weight_bits + cache * kv_bits) // 8


def price_step(plan: Plan, *, phase: str, batch: int, context: int) -> StepTiming:
    """Price a step of ``batch`` sequences over all replicas of the system.

    Replicas share the batch evenly; the fullest one sets the time. Raises InputError for bad sizes
    and a context beyond the model's, InfeasibleError where the batch does not fit HBM.
    """
    _check_sizes(plan, phase, batch, context)
    share = uniform_batch(phase, -(-batch // plan.replicas), context)
    memory = _check_memory(plan, share, phase, context)
    prices = price_batch(plan, share)
    totals, spans = execute(plan, prices)
    host_ps = plan.system.host_overhead_ps
    time_ps = int(totals[executor.TIME]) + host_ps
    if not 0 < time_ps < LONGEST_STEP_PS:
        raise InfeasibleError(
            "the step takes more than a day",
            hint="is a rate or a delay of the chip off by orders of magnitude?",
        )

    whole = uniform_batch(phase, batch, context)
    windowed = whole.window_pairs(plan.model.window)
    flops = plan.model.flops(whole.tokens, whole.logits, whole.pairs, windowed)
    busy_groups = min(plan.replicas, batch)
    least = _system_minimum(plan, whole, busy_groups)
    chips = plan.system.chips
    chip = plan.system.chip
    seconds = time_ps / 1e12
    shared = batch / (len(share.new) * plan.replicas)
    causes = {name: int(totals[executor.CAUSES + i]) / time_ps for i, name in enumerate(CAUSES)}
    causes["host"] += host_ps / time_ps
    traffic = _traffic(plan, totals, shared)
    return StepTiming(
        system=plan.system.name,
        model=plan.model.name,
        phase=phase,
        batch=batch,
        context=context,
        tp=plan.tp,
        replicas=plan.replicas,
        dtypes=plan.dtypes.as_dict(),
        tokens=whole.tokens,
        time_ps=time_ps,
        host_ps=host_ps,
        flops=flops,
        min_bytes=least,
        mfu=flops / (seconds * chip.peak_flops_per_s(plan.dtypes.activation) * chips),
        mbu=least / (seconds * chip.hbm.bandwidth_bytes_per_s * chips),
        utilization={
            name: int(totals[executor.BUSY + i]) / time_ps for i, name in enumerate(UNITS)
        },
        bound_by=causes,
        traffic_bytes=traffic,
        memory_bytes=memory.as_dict(),
        operators=tuple(_spans(plan, share, prices, spans)),
        accuracy=chip.validation,
        energy_j=energy_j(
            chip,
            plan.dtypes.activation,
            flops=flops,
            vector_ops=vector_ops(plan, totals) * plan.system.chips * shared,
            traffic=traffic,
            chip_seconds=seconds * chips,
        ),
    )


def vector_ops(plan: Plan, totals: Int64Array) -> float:
    """Vector operations of one chip, from the time that its vector unit was busy."""
    chip = plan.system.chip
    busy_s = int(totals[executor.BUSY + UNITS.index("vector")]) / 1e12
    return busy_s * chip.sustained_clock_hz * chip.vector.ops_per_cycle


def _check_sizes(plan: Plan, phase: str, batch: int, context: int) -> None:
    if phase not in ("prefill", "decode"):
        raise InputError(f"phase must be 'prefill' or 'decode', found '{phase}'")
    if batch < 1:
        raise InputError(f"--batch must be at least 1, found {batch}")
    if context < 1:
        raise InputError(f"--context must be at least 1, found {context}")
    longest = plan.model.max_context
    if context + (phase == "decode") > longest:
        raise InputError(
            f"--context {context} is beyond the {longest} tokens that {plan.model.name} supports"
        )


def _check_memory(plan: Plan, share: Batch, phase: str, context: int) -> Memory:
    """Memory of one chip for this step; InfeasibleError where the batch's cache does not fit."""
    weight_bits, activation_bits, kv_bits = (int(b) for b in plan.bits)
    memory = plan_memory(
        plan.system,
        plan.model,
        tp=plan.tp,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        kv_bits=kv_bits,
        tokens=share.tokens,
        logits=share.logits,
    )
    cached = len(share.new) * (context + (phase == "decode"))
    if cached * memory.kv_per_token > memory.kv:
        most = memory.kv // (memory.kv_per_token * (context + (phase == "decode")))
        room = f"at most {most * plan.replicas} sequences of this length fit"
        raise InfeasibleError(
            f"a batch of {len(share.new)} x {context} tokens needs "
            f"{format_bytes(cached * memory.kv_per_token)} of KV cache a chip, "
            f"{format_bytes(memory.kv)} are left of HBM",
            hint=room if most else "not even one sequence of this length fits",
        )
    return memory


def _system_minimum(plan: Plan, whole: Batch, groups: int) -> int:
    """Weights once for each group that works, and the whole batch's cache once."""
    one = minimum_bytes(plan, Batch(whole.new, whole.past * 0, whole.logits))
    cache = minimum_bytes(plan, whole) - one
    return groups * one + cache


def _traffic(plan: Plan, totals: Int64Array, shared: float) -> dict[str, int]:
    """Bytes that all chips moved; replicas with a smaller share are scaled down."""
    scale = plan.system.chips * shared
    names = ("hbm_read", "hbm_write", "fabric")
    return {name: round(int(totals[executor.BYTES + i]) * scale) for i, name in enumerate(names)}


def _spans(plan: Plan, batch: Batch, prices: Int64Array, spans: Int64Array) -> list[OperatorSpan]:
    names = [(section.name, op) for section in plan.shards for op in section.operators]
    out = []
    for row in spans:
        index, repeat, start, end, variant, fetch_start, fetched = (int(x) for x in row)
        prefix, op = names[index]
        price = [int(x) for x in prices[index, variant]]
        rows = batch.logits if getattr(op, "rows", "tokens") == "logits" else batch.tokens
        busy = price[executor.MATRIX : executor.MATRIX + 5]
        busy[2] -= fetched
        whole = max(1, int(prices[index, executor.WARM, executor.FETCH]))
        fetch_bytes = int(prices[index, executor.WARM, executor.FETCH_BYTES])
        out.append(
            OperatorSpan(
                name=f"{prefix}{repeat}.{op.name}" if prefix else op.name,
                kind=_kind(op),
                detail=_detail(op, rows, batch),
                start_ps=start,
                end_ps=end,
                busy_ps=tuple(min(max(0, b), end - start) for b in busy),
                bound_by=CAUSES[price[executor.CAUSE]],
                flops=_flops(op, rows, batch),
                hbm_read_bytes=price[executor.READ],
                hbm_write_bytes=price[executor.WRITE],
                fabric_bytes=price[executor.SENT],
                fetch_bytes=fetch_bytes * fetched // whole,
                fetch_start_ps=fetch_start,
                fetch_ps=fetched,
            )
        )
    return out


def _kind(op: Operator) -> str:
    if isinstance(op, Collective):
        return op.op
    return {Matmul: "matmul", Elementwise: "vector", Gather: "gather", Attention: "attention"}[
        type(op)
    ]


def _detail(op: Operator, rows: int, batch: Batch) -> str:
    if isinstance(op, Matmul):
        return f"{rows}x{op.k}x{op.n}"
    if isinstance(op, Attention):
        return f"{len(batch.new)} sequences, {op.heads} heads, {op.kv_heads} KV heads"
    if isinstance(op, Collective | Gather):
        return f"{rows}x{op.width}"
    return f"{rows} rows"


def _flops(op: Operator, rows: int, batch: Batch) -> int:
    if isinstance(op, Matmul):
        return 2 * rows * op.k * op.n
    if isinstance(op, Attention):
        return 4 * op.heads * op.head_dim * batch.window_pairs(op.window)
    return 0
