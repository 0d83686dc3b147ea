"""Prices of decode iterations, by what they depend on.

In a decode iteration every sequence computes one token. All operators but attention depend on the
number of sequences alone: their part of an iteration is kept (``timing.outline``). On a systolic
array that of attention depends on sums over the sequences (cycles, keys, bytes:
``attention_prices.add_sequences``). So the work of one sequence is tabulated by its cached tokens,
``works`` int64[contexts * attention operators * PARTS], and a batch is priced from the sums.

On a GPU, and where ranks share the sequences among them, attention depends on the longest sequence
and on other things too: ``works`` is empty then, and attention is priced as in any other batch.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div, clear
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.chip_vector import ATTENTION_BITS, SYSTOLIC, UNIT_KIND
from simulator.kernels.executor import COLD, TOTAL_FIELDS
from simulator.kernels.jit import inner, kernel
from simulator.timing.attention_prices import (
    add_sequences,
    close_attention,
    to_price,
)
from simulator.timing.batch import (
    Packed,
    Rows,
    execute_stages,
    join_stages,
    load_prices,
    price_sequences,
    run_stages,
)
from simulator.timing.latent_prices import close_latent
from simulator.timing.outline import add_groups
from simulator.timing.prices import (
    ATTENTION,
    LATENT,
    PLAN_CONTEXT,
    PLAN_HEAD_DIM,
    PLAN_HEADS,
    PLAN_KIND,
    PLAN_KV_HEADS,
    PLAN_KV_RANK,
    PLAN_ROPE_DIM,
    PLAN_SPLIT,
    PLAN_WINDOW,
)
from simulator.timing.work import (
    WORK_FLOPS,
    WORK_MATRIX,
    WORK_ROUNDS,
    WORK_SRAM_BYTES,
    WORK_VECTOR,
)

# What a sequence adds to the work of an operator, int64[PARTS]: fields of WORK_*, tokens read.
PART_MATRIX = 0
PART_VECTOR = 1
PART_SRAM = 2
PART_FLOPS = 3
PART_ROUNDS = 4
PART_READ = 5
PARTS = 6

Known = tuple[Int64Array, BoolArray, Int64Array, Int64Array]
"""(fixed, outlined, groups, works): ``fixed`` int64[rows, stages, TOTAL_FIELDS] are the totals of
all operators outside ``groups`` for a number of sequences, where ``outlined`` bool[rows] says that
they are known. Without rows nothing is known of decode iterations."""

Room = tuple[Int64Array, Int64Array, Int64Array]
"""Where a price is worked out: totals of a group int64[TOTAL_FIELDS], of each kind of stage
int64[stages, TOTAL_FIELDS], work of an operator int64[WORK_FIELDS]."""


@inner
def fill_parts(
    chip: Int64Array,
    row: Int64Array,
    past: int,
    work: Int64Array,
    into: Int64Array,
) -> None:
    """What one sequence with ``past`` cached tokens adds to the work of an attention operator."""
    own = ceil_div(past + 1, row[PLAN_CONTEXT]) - 1
    clear(work)
    heads, dim = row[PLAN_HEADS], row[PLAN_HEAD_DIM]
    if row[PLAN_KIND] == LATENT:
        kv_heads = 1
        rank, rope = row[PLAN_KV_RANK], row[PLAN_ROPE_DIM]
        shape = (heads, rank + rope, rank, 0)
    else:
        kv_heads = row[PLAN_KV_HEADS]
        shape = (ceil_div(heads, kv_heads), dim, dim, row[PLAN_WINDOW])
    one = (1, own, 1)
    into[PART_READ] = add_sequences(chip, shape, kv_heads, chip[ATTENTION_BITS], one, work)
    into[PART_MATRIX] = work[WORK_MATRIX]
    into[PART_VECTOR] = work[WORK_VECTOR]
    into[PART_SRAM] = work[WORK_SRAM_BYTES]
    into[PART_FLOPS] = work[WORK_FLOPS]
    into[PART_ROUNDS] = work[WORK_ROUNDS]


@kernel
def fill_works(packed: Packed, work: Int64Array, works: Int64Array) -> bool:
    """Fill the table by cached tokens; False where a price depends on more than sums.

    That is so where ranks share the sequences among them (the fullest is priced), and on GPUs,
    whose kernels wait for the longest sequence and split by how many there are.
    """
    chip, _, plan, _, _, _, _ = packed
    if chip[UNIT_KIND] != SYSTOLIC:
        return False
    width = 0
    for op in range(len(plan)):
        if plan[op, PLAN_KIND] == ATTENTION or plan[op, PLAN_KIND] == LATENT:
            if plan[op, PLAN_SPLIT] != 1:
                return False
            width += PARTS
    first = 0
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION and row[PLAN_KIND] != LATENT:
            continue
        for past in range(len(works) // width):
            start = past * width + first
            fill_parts(chip, row, past, work, works[start : start + PARTS])
        first += PARTS
    return True


@inner
def add_works(works: Int64Array, width: int, past: int, sums: Int64Array) -> None:
    """Add the works of a sequence in successive iterations, the first after ``past`` cached tokens.

    ``sums`` is int64[iterations * width], an iteration's works being ``width`` numbers.
    """
    # a view, so that the compiler sees that no index is negative
    own = works[past * width : past * width + len(sums)]
    for place in range(len(sums)):
        sums[place] += own[place]


@inner
def load_work(sums: Int64Array, index: int, work: Int64Array) -> int:
    """Start the ``work`` of attention operator ``index`` with sums; returns the tokens read."""
    own = sums[index * PARTS : (index + 1) * PARTS]
    clear(work)
    work[WORK_MATRIX] = own[PART_MATRIX]
    work[WORK_VECTOR] = own[PART_VECTOR]
    work[WORK_SRAM_BYTES] = own[PART_SRAM]
    work[WORK_FLOPS] = own[PART_FLOPS]
    work[WORK_ROUNDS] = own[PART_ROUNDS]
    read: int = own[PART_READ]
    return read


@inner
def price_from_sums(
    packed: Packed, sums: Int64Array, count: int, work: Int64Array, prices: Int64Array
) -> None:
    """Price attention of ``count`` decoding sequences from the sums of their works."""
    chip, bits, plan, _, _, _, _ = packed
    index = 0
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] == ATTENTION:
            read = load_work(sums, index, work)
            close_attention(chip, bits, row, count, read, work)
        elif row[PLAN_KIND] == LATENT:
            read = load_work(sums, index, work)
            fed = work[WORK_SRAM_BYTES] * (row[PLAN_KV_RANK] + row[PLAN_ROPE_DIM])
            close_latent(chip, bits, row, (count, count, 0, fed), read, work)
        else:
            continue
        to_price(chip, work, prices[op, COLD])
        index += 1


@inner
def price_decode(
    packed: Packed,
    table: Int64Array,
    known: Known,
    room: Room,
    rows: int,
    sequences: tuple[Int64Array, Int64Array, Int64Array],
    sums: Int64Array,
    step: Int64Array,
) -> None:
    """Price an iteration in which each sequence computes one token after ``past[i]`` cached ones.

    ``rows`` are those of ``timing.rank_rows``; ``sequences`` their ranks, new and cached tokens.
    ``sums`` are those of their works; they are not looked at where there are no works.
    """
    _, _, _, weighted, _, stages, _ = packed
    fixed, outlined, groups, works = known
    one, ones, work = room
    ranks, new, past = sequences
    # rows by tokens and by logit positions are one and the same here; attention's places are free
    prices = table[rows]
    if len(works) > 0:
        price_from_sums(packed, sums, len(new), work, prices)
    else:
        price_sequences(packed, ranks, new, past, prices)
    if len(groups) == 0:
        run_stages(packed, prices, False, step)
        return
    if not outlined[rows]:
        execute_stages(packed, prices, fixed[rows])
        for s in range(len(stages)):
            clear(ones[s])
        add_groups(groups, prices, weighted, one, ones)
        for s in range(len(stages)):
            for field in range(TOTAL_FIELDS):
                fixed[rows, s, field] -= ones[s, field]
        outlined[rows] = True
    for s in range(len(stages)):
        for field in range(TOTAL_FIELDS):
            ones[s, field] = fixed[rows, s, field]
    add_groups(groups, prices, weighted, one, ones)
    join_stages(packed, ones, False, step)


@inner
def prices_by_sums(packed: Packed, works: Int64Array) -> bool:
    """Whether batches with prompts are priced from the table too.

    Not with latent attention, which has another form for prompts.
    """
    plan = packed[2]
    for op in range(len(plan)):
        if plan[op, PLAN_KIND] == LATENT:
            return False
    return len(works) > 0


@inner
def price_mixed(
    packed: Packed,
    table: Int64Array,
    works: Int64Array,
    work: Int64Array,
    rows: Rows,
    prompts: bool,
    sequences: tuple[Int64Array, Int64Array, Int64Array],
    sums: Int64Array,
    prices: Int64Array,
    step: Int64Array,
) -> None:
    """Price an iteration with prompts on one rank, as ``batch.price_step`` does.

    Sequences with one token come from the table, the others are counted as in
    ``attention_prices``, as the rank sees them (``timing.batch.share_of``). ``sums`` is
    int64[attention operators * PARTS].
    """
    chip, bits, plan, _, _, _, _ = packed
    _, new, past = sequences
    load_prices(packed, table, rows, prices)
    clear(sums)
    for i in range(len(new)):
        if new[i] == 1:
            add_works(works, len(sums), past[i], sums)
    index = 0
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION:
            continue
        read = load_work(sums, index, work)
        kv_heads, dim = row[PLAN_KV_HEADS], row[PLAN_HEAD_DIM]
        shape = (ceil_div(row[PLAN_HEADS], kv_heads), dim, dim, row[PLAN_WINDOW])
        tokens = 0
        for i in range(len(new)):
            queries = 1
            if new[i] != 1:
                queries = ceil_div(new[i], row[PLAN_CONTEXT])
                one = (queries, past[i] + (new[i] - queries) // 2, 1)
                read += add_sequences(chip, shape, kv_heads, chip[ATTENTION_BITS], one, work)
            tokens += queries
        close_attention(chip, bits, row, tokens, read, work)
        to_price(chip, work, prices[op, COLD])
        index += 1
    run_stages(packed, prices, prompts, step)
