"""The price of one iteration: a batch of sequences through a model on a system."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.errors import InfeasibleError, InputError
from simulator.kernels import executor
from simulator.mapping.memory import Memory, check_room
from simulator.mapping.overheads import overheads
from simulator.timing.batch import price_sequences, run_stages
from simulator.timing.energy import energy_basis, energy_j
from simulator.timing.evidence import compared, uncompared
from simulator.timing.plan import Plan
from simulator.timing.plan_rows import engine_notes
from simulator.timing.results import CAUSES, UNITS, StepTiming
from simulator.timing.sequences import MOST_SEQUENCES, Batch, uniform_batch
from simulator.timing.spans import collective_rows, operator_spans
from simulator.units import format_bytes

__all__ = [
    "Batch",
    "PricedStep",
    "evaluate",
    "execute",
    "price_batch",
    "price_step",
    "uniform_batch",
]

Int64Array = npt.NDArray[np.int64]


LONGEST_STEP_PS = 10**17
"""A step of more than a day is a mistake in a configuration."""


def price_batch(plan: Plan, batch: Batch) -> Int64Array:
    """Prices of every operator for a batch, int64[operators, 2, PRICE_FIELDS]."""
    prices = np.zeros((len(plan.rows), 2, executor.PRICE_FIELDS), dtype=np.int64)
    rows, tokens, logits = plan.rows_of(batch)
    plan.price_rows(rows, False, prices)
    plan.price_rows(logits, True, prices)
    if rows != tokens:
        plan.price_uneven(rows, tokens, prices)
    ranks = batch.on_ranks(plan.layout.dp)
    price_sequences(plan.packed, ranks, batch.new, batch.past, prices)
    return prices


def execute(
    plan: Plan, prices: Int64Array, *, prompts: bool = False
) -> tuple[Int64Array, Int64Array]:
    """(totals, spans) of a step; see ``kernels.executor``. Spans are those of the slowest stage."""
    totals = np.zeros(executor.TOTAL_FIELDS, dtype=np.int64)
    slowest = run_stages(plan.packed, prices, prompts, totals)
    return totals, stage_spans(plan, prices, slowest)


def stage_spans(plan: Plan, prices: Int64Array, stage: int) -> Int64Array:
    """Every executed operator of one kind of stage, int64[executed, SPAN_FIELDS]."""
    first, count = (int(x) for x in plan.stages[stage, :2])
    sections = plan.sections[first : first + count]
    executed = int((sections[:, 1] * sections[:, 2]).sum())
    spans = np.zeros((executed, executor.SPAN_FIELDS), dtype=np.int64)
    none = np.zeros(executor.TOTAL_FIELDS, dtype=np.int64)
    executor.execute(prices, plan.weighted, sections, none, spans)
    return spans


def minimum_bytes(plan: Plan, batch: Batch) -> int:
    """Weights and KV cache of one group read once: the numerator of MBU.

    The input embedding is left out, because a step reads single rows of it.
    """
    weights = plan.model.touched_matmul_parameters(batch.tokens)
    if batch.logits:
        weights += plan.model.head_parameters
    cache = sum(
        count * plan.model.kv_elements(int(past))
        for past, count in zip(*np.unique(batch.past, return_counts=True), strict=True)
    )
    return plan.dtypes.stored_bytes(weights, int(cache))


@dataclass(frozen=True, slots=True)
class PricedStep:
    """A step before it is reported: its plan, the replica's batch, and what the kernels say."""

    plan: Plan
    share: Batch
    memory: Memory
    cache: int
    prices: Int64Array
    totals: Int64Array
    slowest: int
    host_ps: int

    @property
    def time_ps(self) -> int:
        """Duration with the host's overhead."""
        return int(self.totals[executor.TIME]) + self.host_ps


def evaluate(plan: Plan, *, phase: str, batch: int, context: int) -> PricedStep:
    """Price a step of ``batch`` sequences over all replicas of the system.

    Replicas share the batch evenly, and so do the ranks of a replica that share sequences; the
    fullest sets the time, and the others are padded to it. Raises InputError for bad sizes and a
    context beyond the model's, InfeasibleError where the batch does not fit HBM.
    """
    _check_sizes(plan, phase, batch, context)
    each = -(-batch // plan.replicas)
    layout = plan.layout
    if layout.micro_batches > max(1, -(-each // layout.dp)):
        # there are not that many sequences to make micro-batches of
        fewer = replace(layout, micro_batches=max(1, -(-each // layout.dp)))
        plan = plan.with_layout(fewer)
        layout = fewer
    ways = layout.dp * layout.micro_batches
    share = uniform_batch(phase, -(-each // ways) * ways, context, plan.speculation.drafts)
    memory, cache = _check_memory(plan, share, phase, context)
    prices = price_batch(plan, share)
    totals = np.zeros(executor.TOTAL_FIELDS, dtype=np.int64)
    slowest = run_stages(plan.packed, prices, phase == "prefill", totals)
    # replicas have hosts of their own, and so have the ranks of a replica that share sequences
    host_ps = plan.system.host_ps(-(-each // layout.dp))
    if not 0 < totals[executor.TIME] + host_ps < LONGEST_STEP_PS:
        raise InfeasibleError(
            "the step takes more than a day",
            hint="is a rate or a delay of the chip off by orders of magnitude?",
        )
    return PricedStep(plan, share, memory, cache, prices, totals, slowest, host_ps)


def price_step(plan: Plan, *, phase: str, batch: int, context: int) -> StepTiming:
    """Price and report a step; see ``evaluate``."""
    priced = evaluate(plan, phase=phase, batch=batch, context=context)
    plan, share, totals = priced.plan, priced.share, priced.totals
    time_ps = priced.time_ps
    drafts = plan.speculation.drafts if phase == "decode" else 0
    whole = uniform_batch(phase, batch, context, drafts)
    windowed = whole.window_pairs(plan.model.window)
    flops = plan.model.flops(whole.tokens, whole.logits, whole.pairs, windowed)
    chips = plan.system.chips
    chip = plan.system.chip
    seconds = time_ps / 1e12
    shared = batch / (len(share.new) * plan.replicas)
    causes = {name: int(totals[executor.CAUSES + i]) / time_ps for i, name in enumerate(CAUSES)}
    causes["host"] += priced.host_ps / time_ps
    traffic = _traffic(plan, totals, share, batch)
    least = _system_minimum(plan, whole)
    if plan.experts.load != "balanced":
        # fewer experts are met than balanced tokens could meet, and the price knows how many
        least = min(least, traffic["hbm_read"])
    spans = stage_spans(plan, priced.prices, priced.slowest)
    operators = operator_spans(plan, share, priced.prices, spans)
    used = {
        "weights": priced.memory.weights,
        "kv": priced.cache,
        "activations": priced.memory.activations,
        "buffers": priced.memory.buffers,
        "reserve": priced.memory.reserve,
        "free": priced.memory.kv - priced.cache,
    }
    entries = compared(plan.system, plan.model)
    return StepTiming(
        system=plan.system.name,
        model=plan.model.name,
        phase=phase,
        batch=batch,
        context=context,
        tp=plan.tp,
        replicas=plan.replicas,
        dtypes=plan.dtypes.as_dict(),
        tokens=_emitted(plan, whole, phase, batch),
        time_ps=time_ps,
        host_ps=priced.host_ps,
        flops=flops,
        min_bytes=least,
        mfu=flops / (seconds * chip.peak_flops_per_s(plan.dtypes.activation) * chips),
        mbu=least / (seconds * chip.hbm.bandwidth_bytes_per_s * chips),
        utilization={
            name: int(totals[executor.BUSY + i]) / time_ps for i, name in enumerate(UNITS)
        },
        bound_by=causes,
        traffic_bytes=traffic,
        memory_bytes=used,
        operators=operators,
        layout=plan.layout.text,
        parallelism=plan.layout.as_dict(),
        overheads=overheads(plan.model, plan.layout),
        collectives=collective_rows(plan, share, priced.prices, spans),
        speculation={"drafts": drafts, "acceptance": plan.speculation.acceptance},
        notes=(
            *engine_notes(plan.system, plan.sharded),
            *_padding_notes(plan, share),
            *load_notes(plan),
            *filter(None, [plan.dtypes.attention_note(plan.system.chip)]),
        ),
        accuracy=entries,
        unvalidated=tuple(("", name) for name in uncompared(plan.system, plan.model, entries)),
        overridden=("",) if chip.overridden else (),
        engine=plan.system.engine,
        energy_basis=energy_basis([chip]),
        energy_j=energy_j(
            chip,
            plan.dtypes.activation,
            flops=flops,
            vector_ops=vector_ops(plan, totals) * plan.system.chips * shared,
            sram_bytes=sram_bytes(plan, totals) * plan.system.chips * shared,
            traffic=traffic,
            chip_seconds=seconds * chips,
        ),
    )


def _padding_notes(plan: Plan, share: Batch) -> tuple[str, ...]:
    """What to say where a rank's sequences are fewer than those of the graph that they run in."""
    engine = plan.system.engine
    rows = plan.rows_of(share)[0]
    if engine is None or rows == share.tokens:
        return ()
    parts = plan.layout.dp * plan.layout.micro_batches
    own = len(share.new) // parts
    size = rows * own // share.tokens
    return (f"{engine.name} pads {own} sequences to {size}, the next batch that it has a graph of",)


def load_notes(plan: Plan) -> tuple[str, ...]:
    """What to say where a model's experts are loaded as the engine's file has it."""
    engine, load = plan.system.engine, plan.experts.load
    if engine is None or plan.model.experts is None or load in ("balanced", ""):
        return ()
    if load != engine.expert_load:
        return ()
    return (f"{engine.name} loads experts by {load} (--expert-load for another)",)


def _emitted(plan: Plan, whole: Batch, phase: str, batch: int) -> float:
    """Tokens that the step is good for: those of the prompts, or one and the accepted drafts."""
    if phase == "decode" and plan.speculation.drafts:
        return batch * plan.speculation.tokens
    return whole.tokens


def vector_ops(plan: Plan, totals: Int64Array | list[int]) -> float:
    """Vector operations of one chip, from the time that its vector unit was busy."""
    chip = plan.system.chip
    busy_s = int(totals[executor.BUSY + UNITS.index("vector")]) / 1e12
    return busy_s * chip.sustained_clock_hz * chip.vector.ops_per_cycle


def sram_bytes(plan: Plan, totals: Int64Array | list[int]) -> float:
    """Bytes that the SRAM of one chip moved, from the time that it was busy."""
    busy_s = int(totals[executor.BUSY + UNITS.index("sram")]) / 1e12
    return busy_s * plan.system.chip.sram.bandwidth_bytes_per_s


def _check_sizes(plan: Plan, phase: str, batch: int, context: int) -> None:
    if phase not in ("prefill", "decode"):
        raise InputError(f"phase must be 'prefill' or 'decode', found '{phase}'")
    if batch < 1:
        raise InputError(f"--batch must be at least 1, found {batch}")
    if batch > MOST_SEQUENCES:
        raise InputError(f"--batch: found {batch}, expected at most {MOST_SEQUENCES} sequences")
    if context < 1:
        raise InputError(f"--context must be at least 1, found {context}")
    longest = plan.model.max_context
    if context + (phase == "decode") > longest:
        raise InputError(
            f"--context {context} is beyond the {longest} tokens that {plan.model.name} supports"
        )


def _check_memory(plan: Plan, share: Batch, phase: str, context: int) -> tuple[Memory, int]:
    """(memory, bytes of the batch's cache) of the fullest chip; InfeasibleError where the cache
    does not fit."""
    memory = plan.memory(share.tokens, share.logits)
    check_room(plan.system, plan.model, plan.layout, memory)
    length = context + int(share.new[0]) if phase == "decode" else context
    own = -(-len(share.new) // plan.layout.dp)
    one = memory.kv_of(length)
    if own * one > memory.kv:
        most = memory.kv // one * plan.layout.dp
        room = f"at most {most * plan.replicas} sequences of this length fit"
        raise InfeasibleError(
            f"a batch of {len(share.new)} x {context} tokens needs "
            f"{format_bytes(own * one)} of KV cache a chip, "
            f"{format_bytes(memory.kv)} are left of HBM",
            hint=room if most else "not even one sequence of this length fits",
        )
    return memory, own * one


def _system_minimum(plan: Plan, whole: Batch) -> int:
    """Weights that each replica's tokens can meet, and the cache of its sequences, once."""
    sequences = len(whole.new)
    each, more = divmod(sequences, plan.replicas)
    least = 0
    for count, replicas in ((each + 1, more), (each, plan.replicas - more)):
        if count and replicas:
            logits = whole.logits * count // sequences
            part = Batch(whole.new[:count], whole.past[:count], logits)
            least += replicas * minimum_bytes(plan, part)
    return least


def _traffic(plan: Plan, totals: Int64Array, share: Batch, batch: int) -> dict[str, int]:
    """Bytes that all chips moved, from those of a chip of the fullest replica.

    A replica with fewer sequences reads as many weights and moves less of everything else.
    """
    replicas = plan.replicas
    read, written, sent = (int(totals[executor.BYTES + i]) * plan.system.chips for i in range(3))
    every = Batch(share.new, share.past * 0, share.logits)
    weights = min(read, replicas * minimum_bytes(plan, every))
    full = batch / (len(share.new) * replicas)
    return {
        "hbm_read": round(weights * min(replicas, batch) / replicas + (read - weights) * full),
        "hbm_write": round(written * full),
        "fabric": round(sent * full),
    }
