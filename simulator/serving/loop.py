"""The serving loop of one replica between two events of the world, in one numba call.

``advance`` forms a batch, prices it, moves the clock to its end, emits tokens, and goes on until
something outside matters: the horizon (the next arrival), a completion that somebody waits for, a
batch size that has no price yet, a full log, or nothing left to do. Where nothing runs and nothing
waits it jumps to the next request that was posted ahead.
"""

from __future__ import annotations

from simulator.kernels import executor
from simulator.kernels.arithmetic import ceil_div, clear, scale_up
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.jit import inner, kernel
from simulator.serving.accounts import (
    COMPLETION,
    GOES_ON,
    HORIZON,
    IDLE,
    LOG_FULL,
    UNPRICED,
    count_iteration,
    refused,
    write_log,
)
from simulator.serving.accounts import CUT as CUT
from simulator.serving.accounts import STALLED as STALLED
from simulator.serving.accounts import TOO_LONG as TOO_LONG
from simulator.serving.admission import NEW, PAST, RANK_OF, State, posted_at, receive, room_for
from simulator.serving.course import Tally, close_iteration
from simulator.serving.decode_run import AHEAD, Scratch, host_ps, run
from simulator.serving.fields import (
    ASKED_LOGITS,
    ASKED_ROWS,
    ASKED_TOKENS,
    BLOCK_BYTES,
    BLOCK_TOKENS,
    COMPUTED,
    COPIED_IN,
    COPIED_OUT,
    ENDED,
    EVICTABLE,
    FORMED_AFTER,
    FREE_BLOCKS,
    HASH_BLOCKS,
    HASH_COUNT,
    HELD,
    HELD_SHARED,
    HOST_BYTES_PER_S,
    INBOX_HEAD,
    INBOX_TAIL,
    LOGGED,
    LOGITS,
    MOVED_IN,
    MOVED_OUT,
    MOVED_POOL,
    NOW,
    POOL_BYTES_PER_S,
    POOL_IN,
    PREEMPTED,
    QUEUE_HEAD,
    QUEUE_TAIL,
    RETURNED,
    RUNNING,
    SCHEDULED,
    STOP_AT_COMPLETION,
    TOKENS,
    UNEVEN_ROWS,
    UNEVEN_TOKENS,
)
from simulator.serving.kv_cache import cached_prefix, grow, release, share
from simulator.serving.prefix_cache import unrefer
from simulator.serving.scheduler import end_batch, form_batch
from simulator.timing.batch import PIPELINE_TOKENS, Packed, Rows, price_step
from simulator.timing.decode_prices import (
    Known,
    add_works,
    price_decode,
    price_mixed,
    prices_by_sums,
)
from simulator.timing.rank_rows import batch_rows, fullest_rank

PS_PER_S = 10**12


@inner
def copy_ps(settings: Int64Array, replica: Int64Array) -> int:
    """How long the batch waits for blocks on their way to and from host and pool.

    Both directions of the host link work at once, and the pool is read through the host.
    """
    size = settings[BLOCK_BYTES]
    most = max(replica[COPIED_IN], replica[COPIED_OUT])
    if most == 0:
        return 0
    time = scale_up(most * size, PS_PER_S, settings[HOST_BYTES_PER_S])
    if replica[POOL_IN] > 0:
        pool = scale_up(replica[POOL_IN] * size, PS_PER_S, settings[POOL_BYTES_PER_S])
        time = max(time, pool)
    replica[MOVED_IN] += replica[COPIED_IN]
    replica[MOVED_OUT] += replica[COPIED_OUT]
    replica[MOVED_POOL] += replica[POOL_IN]
    replica[COPIED_IN] = 0
    replica[COPIED_OUT] = 0
    replica[POOL_IN] = 0
    return time


@inner
def next_batch(state: State, horizon: int) -> int:
    """Form a batch at NOW or, where nothing can run, at the next posted request.

    Returns GOES_ON when there is one, otherwise why there is none.
    """
    settings, replica, requests, inbox, waiting, _, _, prefixes = state
    while True:
        if replica[NOW] >= horizon:
            return HORIZON
        receive(settings, replica, requests, inbox, waiting, prefixes)
        reason = IDLE
        if replica[RUNNING] > 0 or replica[QUEUE_HEAD] < replica[QUEUE_TAIL]:
            replica[FORMED_AFTER] = replica[PREEMPTED]
            form_batch(state)
            if replica[SCHEDULED] > 0:
                return GOES_ON
            if replica[PREEMPTED] != replica[FORMED_AFTER]:
                # whoever was to be served gave up its own blocks: the others have room now
                continue
            reason = STALLED
        if replica[INBOX_HEAD] == replica[INBOX_TAIL]:
            return reason
        coming = posted_at(requests, inbox[replica[INBOX_HEAD]])
        if coming >= horizon:
            return HORIZON if reason == IDLE else reason
        replica[NOW] = coming


@inner
def has_prices(priced: BoolArray, rows: Rows, asked: Int64Array) -> bool:
    """Whether the table has what a batch of so many rows needs."""
    if rows[0] != rows[1] and (asked[UNEVEN_ROWS] != rows[0] or asked[UNEVEN_TOKENS] != rows[1]):
        return False
    return priced[0, rows[0]] and priced[1, rows[2]]


@kernel
def advance(
    state: State,
    table: Int64Array,
    priced: BoolArray,
    packed: Packed,
    known: Known,
    scratch: Scratch,
    tally: Tally,
    log: Int64Array,
    horizon: int,
) -> int:
    """Run iterations that start before ``horizon``; returns why it stopped.

    ``priced`` is bool[2, rows]: whether ``table`` holds the prices of a number of tokens (0) and
    of logit positions (1). After UNPRICED the caller fills in what was ASKED and calls again; the
    batch that was formed is kept. ``known`` is that of ``timing.decode_prices``; without rows every
    iteration is formed and priced by itself.
    """
    settings, replica, _, _, _, _, batch, _ = state
    prices, own, _, room_of_sums, gaps, room, asked = scratch
    works = known[3]
    width = len(room_of_sums) // AHEAD
    one = room_of_sums[:width]
    by_sums = prices_by_sums(packed, works)
    while True:
        if replica[SCHEDULED] == 0:
            if len(log) > 0 and replica[LOGGED] == len(log):
                return LOG_FULL
            reason = next_batch(state, horizon)
            if reason != GOES_ON:
                return reason
        tokens, logits, count = replica[TOKENS], replica[LOGITS], replica[SCHEDULED]
        new, past, ranks = batch[NEW][:count], batch[PAST][:count], batch[RANK_OF][:count]
        fullest = fullest_rank(packed[6], ranks, new, tokens)
        rows = batch_rows(packed[6], fullest, tokens, logits)
        if not has_prices(priced, rows, asked):
            asked[ASKED_ROWS], asked[ASKED_TOKENS], asked[ASKED_LOGITS] = rows
            return UNPRICED
        host = host_ps(settings, fullest[1])
        sequences = (ranks, new, past)
        if len(known[1]) > 0 and tokens == count and logits == count:
            if len(log) == 0 and run(
                state, packed, table, known, scratch, tally, rows[0], host, horizon
            ):
                continue
            clear(one)
            if len(works) > 0:
                for i in range(count):
                    add_works(works, width, past[i], one)
            price_decode(packed, table, known, room, rows[0], sequences, one, own)
        else:
            prompts = tokens > count * packed[6][PIPELINE_TOKENS]
            if by_sums:
                price_mixed(
                    packed, table, works, room[2], rows, prompts, sequences, one, prices, own
                )
            else:
                price_step(packed, table, rows, prompts, sequences, prices, own)
        host += copy_ps(settings, replica)
        reason = refused(settings, replica, own[executor.TIME] + host)
        if reason != GOES_ON:
            return reason
        pairs = 0
        cached = 0
        for i in range(count):
            pairs += new[i] * past[i] + new[i] * (new[i] + 1) // 2
            cached += past[i]
        count_iteration(settings, replica, tally, own, host, pairs, cached, new, past)
        if len(log) > 0:
            write_log(log, settings, replica, own)
        free = replica[FREE_BLOCKS] + replica[EVICTABLE]
        finished = end_batch(state, gaps)
        replica[RETURNED] = replica[FREE_BLOCKS] + replica[EVICTABLE] - free
        close_iteration(replica, tally)
        if finished > 0 and settings[STOP_AT_COMPLETION] == 1:
            return COMPLETION


@kernel
def reserve(state: State, number: int, now: int) -> bool:
    """Take the blocks for a cache that will come, and room for what follows.

    What the prefix cache has of it is shared, and need not come: SHARED says how much that is.
    Blocks that an iteration returns which goes on at ``now`` are not there yet. What was to be
    reserved by now is taken first.
    """
    settings, replica, requests, inbox, _, _, _, prefixes = state
    kept = replica[INBOX_HEAD]
    for index in range(replica[INBOX_HEAD], replica[INBOX_TAIL]):
        entry = inbox[index]
        if entry < 0:
            grow(
                settings, replica, requests[~entry], prefixes, room_for(settings, requests[~entry])
            )
        else:
            inbox[kept] = entry
            kept += 1
    replica[INBOX_TAIL] = kept
    request = requests[number]
    more = room_for(settings, request)
    later = 0
    if replica[NOW] > now and replica[ENDED] > 0:
        later = replica[RETURNED]
    found = 0
    if request[HASH_COUNT] > 0:
        found = cached_prefix(settings, request, prefixes)
    need = ceil_div(request[COMPUTED] + more, BLOCK_TOKENS) - found * settings[HASH_BLOCKS]
    if found > 0:
        computed = request[COMPUTED]
        if not share(settings, replica, request, prefixes, found, need + later):
            return False
        request[COMPUTED] = computed
    elif need > replica[FREE_BLOCKS] + replica[EVICTABLE] - later:
        return False
    return grow(settings, replica, request, prefixes, more)


@kernel
def cancel(state: State, number: int) -> None:
    """Return the blocks of a reservation."""
    settings, replica, requests, _, _, _, _, prefixes = state
    release(settings, replica, requests[number], prefixes)


@kernel
def release_held(state: State, number: int) -> None:
    """Return the blocks that were held for a prefilled request."""
    settings, replica, requests, _, _, _, _, prefixes = state
    request = requests[number]
    replica[FREE_BLOCKS] += request[HELD]
    request[HELD] = 0
    unrefer(settings, replica, request, request[HELD_SHARED], prefixes)
    request[HELD_SHARED] = 0


@kernel
def cached_tokens(state: State, number: int) -> int:
    """Leading tokens of a request that are in the prefix cache."""
    settings, _, requests, _, _, _, _, prefixes = state
    return (
        cached_prefix(settings, requests[number], prefixes) * settings[HASH_BLOCKS] * (BLOCK_TOKENS)
    )
