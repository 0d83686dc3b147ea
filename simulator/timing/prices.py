"""The price of one operator on one chip: the only place where an operator gets its time.

A plan is a model's share of one chip as int64 rows (``PLAN_*``); a price is int64[2,
PRICE_FIELDS] (``kernels.executor``), cold and warm. The kernels below, and those of
``attention_prices`` and ``moe_prices``, are called by ``chipsim op``, ``chipsim step`` and the
serving loop alike; ``timing.rows`` prices all operators of a plan that depend on a number of rows.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import (
    bits_to_bytes,
    ceil_div,
    clear,
    copy,
    cycles_to_ps,
    ps_to_cycles,
    scale_up,
)
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    ACTIVATION_BYTES,
    CLOCK_HZ,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    OVERHEAD_PS,
    VECTOR_OPS,
)
from simulator.kernels.executor import (
    CAUSE,
    COLD,
    DURATION,
    FETCH,
    FETCH_BYTES,
    HBM,
    MATRIX,
    READ,
    SRAM,
    VECTOR,
    WARM,
    WRITE,
    dominant,
)
from simulator.kernels.jit import inner, kernel
from simulator.mapping import matmul as mapper
from simulator.mapping import tiles

# Kinds of operators in a plan.
MATMUL = 0
ELEMENTWISE = 1
GATHER = 2
ATTENTION = 3
COLLECTIVE = 4
LATENT = 5
"""Latent attention, priced by ``timing.attention_prices.price_latent``."""
MOE = 6
"""Routed experts with dispatch and combine, priced by ``timing.moe_prices.price_moe``: PLAN_K is
the hidden width, PLAN_N this rank's share of an expert's intermediate width."""

# Fields of a plan's row.
PLAN_KIND = 0
PLAN_LOGITS = 1
"""1 where the rows are the positions that get logits."""
PLAN_K = 2
PLAN_N = 3
PLAN_STORED = 4
PLAN_OPS = 5
PLAN_READ = 6
PLAN_WRITTEN = 7
PLAN_FUSED = 8
PLAN_COLLECTIVE = 9
PLAN_WIDTH = 10
PLAN_HEADS = 11
PLAN_KV_HEADS = 12
PLAN_HEAD_DIM = 13
PLAN_FETCH = 14
"""1 for a matmul that follows attention or a collective, during which HBM has idle time."""
PLAN_RANKS = 15
PLAN_PASSES = 16
"""Ranks of a collective, and how often its data goes round (all-reduce: scatter and gather)."""
PLAN_WINDOW = 17
"""Keys that a query sees at most, itself included; 0: all."""
PLAN_KV_RANK = 18
PLAN_ROPE_DIM = 19
PLAN_NOPE_DIM = 20
PLAN_VALUE_DIM = 21
"""Of latent attention; its heads are PLAN_HEADS."""
PLAN_EXPERTS = 22
"""Experts of the layer over all ranks (PLAN_RANKS of the expert group)."""
PLAN_TOP_K = 23
PLAN_GATED = 24
PLAN_NO_PREFETCH = 25
"""1 where attention fetches queries and keys only when it needs them; 0 is the usual kernel."""
PLAN_BUFFERS = 26
"""Copies of the operands that a benchmark cycles through, so that a cache may still hold them; 0,
as in a model's step, means that nothing of an earlier call is left."""
PLAN_GROUP = 27
"""Row of the packed fabrics: the group of ranks of a collective, or of the experts."""
PLAN_SPLIT = 28
"""Ranks and micro-batches that share the rows; for attention, the batch's sequences."""
PLAN_CONTEXT = 29
"""Ranks that share the keys of each sequence."""
PLAN_WEIGHTS = 30
"""Elements of weights that a collective moves, whatever the rows; 0 where it moves rows."""
PLAN_BACKGROUND = 31
"""1 for a collective that runs behind the operators before it."""
PLAN_LOCAL = 32
"""1 where every rank of the experts has all tokens of the group: nothing is exchanged."""
PLAN_EXPERT_FORM = 33
"""How operands of experts are quantized: PLAIN, BLOCKS or INTEGERS (``kernels.expert_kernels``)."""
PLAN_EXPERT_KERNELS = 34
"""1 + the library of ``kernels.expert_kernels`` that runs experts; 0 for the engine's choice."""
PLAN_NO_UPDATE = 35
"""1 for attention alone: its new keys and values are in the cache already."""
PLAN_FIELDS = 36

# Bits of the data types, int64[4]; a single attention has only the first three.
WEIGHT_BITS = 0
ACTIVATION_BITS = 1
KV_BITS = 2
RESIDUAL_BITS = 3
"""Of what lies between matmuls and what chips exchange: those of activations, or more."""


@inner
def resident(chip: Int64Array, elements: int, bits: int) -> bool:
    """Whether an activation tensor stays on chip: input and output of an operator share SRAM."""
    return 2 * bits_to_bytes(elements * bits) <= chip[ACTIVATION_BYTES]


@inner
def to_ps(chip: Int64Array, cycles: int) -> int:
    """Cycles of this chip in picoseconds, rounded up."""
    return cycles_to_ps(cycles, chip[CLOCK_HZ])


@inner
def price_matmul(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    m: int,
    mapped: Int64Array,
    price: Int64Array,
) -> bool:
    """Cold and warm price of a matmul with weights; False where no tile fits."""
    a_bits, b_bits, r_bits = bits[ACTIVATION_BITS], bits[WEIGHT_BITS], bits[RESIDUAL_BITS]
    k, n = row[PLAN_K], row[PLAN_N]
    a_moved = 0 if resident(chip, m * k, a_bits) else a_bits
    # A fused gate leaves fewer columns than were computed: spread their bits over the columns.
    c_moved = 0
    if not resident(chip, m * row[PLAN_STORED], r_bits):
        c_moved = ceil_div(r_bits * row[PLAN_STORED], n)
    moved = (a_moved, b_bits, c_moved, a_bits, b_bits)
    fetched = mapper.prefetchable(chip, k, n, b_bits) * row[PLAN_FETCH]
    for variant in range(2):
        if variant == WARM and fetched == 0:
            copy(price[COLD], price[WARM])
            break
        mapper.search(chip, (m, k, n), moved, fetched * variant, False, mapped)
        if mapped[tiles.CYCLES] < 0:
            if variant == WARM:
                copy(price[COLD], price[WARM])
                break
            return False
        out = price[variant]
        clear(out)
        out[DURATION] = to_ps(chip, mapped[tiles.CYCLES])
        out[MATRIX] = to_ps(chip, mapped[tiles.ARRAY])
        out[SRAM] = to_ps(chip, mapped[tiles.FEED])
        out[HBM] = to_ps(chip, mapped[tiles.HBM])
        out[READ] = mapped[tiles.READ]
        out[WRITE] = mapped[tiles.WRITE]
        out[CAUSE] = dominant(out)
        if variant == WARM:
            out[FETCH_BYTES] = fetched
            out[FETCH] = to_ps(chip, scale_up(fetched, chip[CLOCK_HZ], chip[HBM_BYTES_PER_S]))
            # Fetching into the prefetch buffer first is open to a cold operator as well.
            if out[DURATION] + out[FETCH] < price[COLD, DURATION]:
                copy(out, price[COLD])
                price[COLD, DURATION] += out[FETCH]
                price[COLD, FETCH] = 0
                price[COLD, FETCH_BYTES] = 0
    return True


@inner
def price_streaming(
    chip: Int64Array, ops: int, read: int, written: int, fused: bool, out: Int64Array
) -> None:
    """Price of vector work over data that streams through: the slowest of unit and memories."""
    clock = chip[CLOCK_HZ]
    vector = ceil_div(ops, chip[VECTOR_OPS])
    hbm = scale_up(read + written, clock, chip[HBM_BYTES_PER_S])
    fixed = 0
    if not fused:
        fixed = ps_to_cycles(chip[OVERHEAD_PS], clock)
    if hbm > 0:
        fixed += ps_to_cycles(chip[HBM_LATENCY_PS], clock)
    clear(out)
    out[DURATION] = to_ps(chip, fixed + max(vector, hbm))
    out[VECTOR] = to_ps(chip, vector)
    out[HBM] = to_ps(chip, hbm)
    out[READ] = read
    out[WRITE] = written
    out[CAUSE] = dominant(out)


@kernel
def price_copies(chip: Int64Array, sizes: Int64Array, out: Int64Array) -> None:
    """Price of copies inside HBM, one row of ``out`` (int64[sizes, PRICE_FIELDS]) a size."""
    for i in range(len(sizes)):
        price_streaming(chip, 0, sizes[i], sizes[i], False, out[i])
