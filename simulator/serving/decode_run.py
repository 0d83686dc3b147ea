"""Decode iterations between two events, without forming each batch anew.

While nobody arrives, ends, or needs a block that is not free, the next batch is the last one with
one more token in each cache. ``look_ahead`` says for how many iterations that holds; ``run`` goes
through them. Both leave exactly what iteration by iteration would have left.
"""

from __future__ import annotations

from simulator.kernels import executor
from simulator.kernels.arithmetic import ceil_div, clear
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.accounts import GOES_ON, count_iteration, refused
from simulator.serving.admission import NEW, PAST, RANK_OF, SEQUENCE, State, decodes, posted_at
from simulator.serving.course import Tally, close_iteration
from simulator.serving.fields import (
    BLOCK_TOKENS,
    BLOCKS,
    COMPUTED,
    COPIED_IN,
    COPIED_OUT,
    DECODED,
    EMITTED,
    EMITTED_TOKENS,
    ENDED,
    FORMED_AFTER,
    FREE_BLOCKS,
    HASH_BLOCKS,
    HASH_COUNT,
    HOST_PS,
    HOST_SEQUENCE_PS,
    INBOX_HEAD,
    INBOX_TAIL,
    LAST_START,
    LAST_TOKEN_AT,
    NOW,
    OUTPUT,
    PREEMPTED,
    PREFILL_ONLY,
    RUNNING,
    SCHEDULED,
    SHARED,
    TOKENS,
    VERIFIED,
)
from simulator.serving.token_gaps import add_gap
from simulator.timing.batch import Packed
from simulator.timing.decode_prices import Known, Room, add_works, price_decode

AHEAD = 32
"""Iterations that are looked ahead at most."""

Scratch = tuple[Int64Array, Int64Array, Int64Array, Int64Array, Int64Array, Room, Int64Array]
"""Room that the loop writes into: prices of a batch's operators int64[operators, 2, PRICE_FIELDS],
totals of an iteration int64[TOTAL_FIELDS]; for iterations that are looked ahead the blocks that
they take int64[AHEAD] and the sums of their works int64[AHEAD * works of a sequence]; the
histogram of ``serving.token_gaps``, which is kept; room for a price; what ``serving.fields`` calls
ASKED, which is kept, too."""


@inner
def host_ps(settings: Int64Array, sequences: int) -> int:
    """What the host of a rank with so many sequences adds, as ``System.host_ps``."""
    return settings[HOST_PS] + sequences * settings[HOST_SEQUENCE_PS]


@inner
def steps_left(settings: Int64Array, request: Int64Array) -> int:
    """Tokens that a decoding sequence emits before it ends or completes a hash block."""
    left = request[OUTPUT] - request[EMITTED] - 1
    if request[SHARED] < request[HASH_COUNT]:
        whole = (request[SHARED] + 1) * settings[HASH_BLOCKS] * BLOCK_TOKENS
        left = min(left, whole - request[COMPUTED] - 1)
    return left


@inner
def until_event(state: State, bound: int) -> int:
    """Iterations that the batch which has just been formed goes through unchanged.

    ``bound`` is when somebody else may act. 0 where it is not a batch of all running sequences
    that decode, or where it would be formed differently now.
    """
    settings, replica, requests, _, _, _, batch, _ = state
    count = replica[SCHEDULED]
    if (
        count != replica[RUNNING]
        or count != replica[TOKENS]
        or replica[PREEMPTED] != replica[FORMED_AFTER]
        or replica[COPIED_IN] + replica[COPIED_OUT] > 0
        or settings[PREFILL_ONLY] == 1
    ):
        return 0
    last = replica[NOW] - replica[LAST_START]
    steps = min(AHEAD, (bound - replica[NOW]) // max(1, last) + 2)
    for slot in range(count):
        request = requests[batch[SEQUENCE, slot]]
        if not decodes(request) or request[LAST_TOKEN_AT] != replica[NOW]:
            return 0
        steps = min(steps, steps_left(settings, request))
    return steps


@inner
def look_ahead(
    state: State, works: Int64Array, steps: int, taken: Int64Array, sums: Int64Array
) -> int:
    """Fill ``taken`` and ``sums`` for so many iterations; returns the batch's cached tokens."""
    settings, replica, requests, _, _, _, batch, _ = state
    width = len(sums) // AHEAD
    known = sums[: steps * width]
    clear(known)
    clear(taken)
    cached = 0
    for slot in range(replica[SCHEDULED]):
        request = requests[batch[SEQUENCE, slot]]
        past = batch[PAST, slot]
        cached += past
        if len(works) > 0:
            add_works(works, width, past, known)
        held = request[BLOCKS] + request[SHARED] * settings[HASH_BLOCKS]
        for step in range(held * BLOCK_TOKENS - past, steps, BLOCK_TOKENS):
            taken[step] += 1
    return cached


@inner
def next_arrival(state: State, horizon: int) -> int:
    """When the next posted request joins the queue, at most the horizon."""
    _, replica, requests, inbox, _, _, _, _ = state
    if replica[INBOX_HEAD] == replica[INBOX_TAIL]:
        return horizon
    return min(horizon, posted_at(requests, inbox[replica[INBOX_HEAD]]))


@inner
def settle(state: State, done: int) -> None:
    """Write what ``done`` iterations did to each sequence."""
    settings, replica, requests, _, _, _, batch, _ = state
    count = replica[SCHEDULED]
    for slot in range(count):
        request = requests[batch[SEQUENCE, slot]]
        request[COMPUTED] += done
        request[EMITTED] += done
        shared = request[SHARED] * settings[HASH_BLOCKS]
        request[BLOCKS] = max(request[BLOCKS], ceil_div(request[COMPUTED], BLOCK_TOKENS) - shared)
        request[LAST_TOKEN_AT] = replica[NOW]
    replica[VERIFIED] += done * count
    replica[DECODED] += done * count
    replica[SCHEDULED] = 0
    replica[ENDED] = 0


@inner
def run(
    state: State,
    packed: Packed,
    table: Int64Array,
    known: Known,
    scratch: Scratch,
    tally: Tally,
    rows: int,
    host: int,
    horizon: int,
) -> bool:
    """Go through the iterations before the next event; False, and nothing done, without any.

    Operators compute ``rows`` in each (``timing.rank_rows``), and it takes the host ``host`` ps.
    """
    settings, replica, _, _, _, _, batch, _ = state
    bound = next_arrival(state, horizon)
    steps = until_event(state, bound)
    if steps < 2:
        return False
    count = replica[SCHEDULED]
    new, past = batch[NEW][:count], batch[PAST][:count]
    sequences = (batch[RANK_OF][:count], new, past)
    _, step, taken, sums, gaps, room, _ = scratch
    width = len(sums) // AHEAD
    cached = look_ahead(state, known[3], steps, taken, sums)
    done = 0
    while done < steps and replica[NOW] < bound and taken[done] <= replica[FREE_BLOCKS]:
        own = sums[done * width : (done + 1) * width]
        price_decode(packed, table, known, room, rows, sequences, own, step)
        duration = step[executor.TIME] + host
        if refused(settings, replica, duration) != GOES_ON:
            break
        replica[FREE_BLOCKS] -= taken[done]
        pairs = cached + count
        count_iteration(settings, replica, tally, step, host, pairs, cached, new, past)
        replica[EMITTED_TOKENS] += count
        close_iteration(replica, tally)
        add_gap(gaps, duration, count)
        cached += count
        done += 1
        for slot in range(count):
            past[slot] += 1
    if done == 0:
        return False
    settle(state, done)
    return True
