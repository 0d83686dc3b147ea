"""What all schedulers are made of: the queue, the batch, admission and preemption.

``waiting`` holds the requests between QUEUE_HEAD and QUEUE_TAIL by priority and within one by
arrival; ``running`` the admitted sequences in order of admission; ``batch`` is int64[BATCH_ROWS,
most + 1 or more]: sequences, their tokens, the tokens that they had computed before, their ranks,
and sums of ranks. A rank of data-parallel attention has its sequences until they end; the cache is
taken to be shared by all of them.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.fields import (
    BLOCK_TOKENS,
    BLOCKS,
    COMPUTED,
    EMITTED,
    EVICTABLE,
    FOUND,
    FOUND_TOKENS,
    FREE_BLOCKS,
    HASH_BLOCKS,
    HASH_COUNT,
    HEADROOM,
    INBOX_HEAD,
    INBOX_TAIL,
    LOGITS,
    MOST,
    NEVER,
    NO_EVICT,
    NOW,
    OUTPUT,
    PREEMPTED,
    PREEMPTION,
    PREEMPTIONS,
    PREFILL_ONLY,
    PRIORITY,
    PROMPT,
    PROMPT_TOKENS,
    QUEUE_HEAD,
    QUEUE_TAIL,
    RANK,
    RANK_BUDGET,
    READY_AT,
    RESERVED_AT,
    RUNNING,
    RUNS,
    SCHEDULED,
    SCHEDULED_AT,
    SCHEDULER,
    SHARED,
    SPECULATED,
    STATIC,
    SWAP,
    SWAPPED,
    SWAPS,
    TOKENS,
)
from simulator.serving.kv_cache import cached_prefix, grow, release, share, swap_in, swap_out, take
from simulator.serving.prefix_cache import Prefixes
from simulator.serving.ranks import RANK_TOKENS, choose_rank

State = tuple[
    Int64Array, Int64Array, Int64Array, Int64Array, Int64Array, Int64Array, Int64Array, Prefixes
]
"""(settings, replica, requests, inbox, waiting, running, batch, prefixes)"""

# Rows of a batch.
SEQUENCE = 0
NEW = 1
PAST = 2
RANK_OF = 3
SEQUENCE_ROWS = 4
"""Rows with a column for each sequence; the others (``serving.ranks``) have one for each rank."""
BATCH_ROWS = 6

# How much of the cache an admission reserves.
CHUNK = 0
PROMPT_WHOLE = 1
EVERYTHING = 2


@inner
def enqueue(replica: Int64Array, requests: Int64Array, waiting: Int64Array, request: int) -> None:
    """Put a request behind all of its own or a more urgent priority.

    One that has its blocks already goes before those that have none: behind one that waits for
    blocks it would keep the very blocks that the other waits for.
    """
    slot = replica[QUEUE_TAIL]
    has_blocks = requests[request, BLOCKS] > 0
    while slot > replica[QUEUE_HEAD] and (
        requests[waiting[slot - 1], PRIORITY] > requests[request, PRIORITY]
        or (has_blocks and requests[waiting[slot - 1], BLOCKS] == 0)
    ):
        waiting[slot] = waiting[slot - 1]
        slot -= 1
    waiting[slot] = request
    replica[QUEUE_TAIL] += 1


@inner
def put_back(replica: Int64Array, requests: Int64Array, waiting: Int64Array, request: int) -> None:
    """Put a request that has given up its blocks before all others of its priority without blocks.

    Those that have theirs, because their cache came from elsewhere, stay before it, as in
    ``enqueue``: what they hold may be all that it waits for.
    """
    slot = replica[QUEUE_HEAD] - 1
    while slot + 1 < replica[QUEUE_TAIL] and (
        requests[waiting[slot + 1], BLOCKS] > 0
        or requests[waiting[slot + 1], PRIORITY] < requests[request, PRIORITY]
    ):
        waiting[slot] = waiting[slot + 1]
        slot += 1
    waiting[slot] = request
    replica[QUEUE_HEAD] -= 1


@inner
def posted_at(requests: Int64Array, entry: int) -> int:
    """When an entry of the inbox takes effect."""
    if entry < 0:
        return requests[~entry, RESERVED_AT]
    return requests[entry, READY_AT]


@inner
def room_for(settings: Int64Array, request: Int64Array) -> int:
    """Tokens beyond those computed for which a cache that comes needs blocks.

    One, or, where nobody may be stopped, all that will follow: requests that hold a part of what
    they need would wait for each other.
    """
    if settings[SCHEDULER] == STATIC or settings[SCHEDULER] == NO_EVICT:
        return max(1, request[OUTPUT] - request[EMITTED])
    return 1


@inner
def receive(
    settings: Int64Array,
    replica: Int64Array,
    requests: Int64Array,
    inbox: Int64Array,
    waiting: Int64Array,
    prefixes: Prefixes,
) -> None:
    """Queue the requests whose time has come, and take the blocks that were to be reserved."""
    while (
        replica[INBOX_HEAD] < replica[INBOX_TAIL]
        and posted_at(requests, inbox[replica[INBOX_HEAD]]) <= replica[NOW]
    ):
        entry = inbox[replica[INBOX_HEAD]]
        if entry < 0:
            request = requests[~entry]
            grow(settings, replica, request, prefixes, room_for(settings, request))
        else:
            enqueue(replica, requests, waiting, entry)
        replica[INBOX_HEAD] += 1


@inner
def decodes(request: Int64Array) -> bool:
    """Whether only its next token is missing: its cache holds all others."""
    return request[EMITTED] > 0 and request[COMPUTED] + 1 == request[PROMPT] + request[EMITTED]


@inner
def todo(settings: Int64Array, request: Int64Array) -> int:
    """Tokens that a sequence would compute now, with those that it speculates on."""
    left = request[PROMPT] + request[EMITTED] - request[COMPUTED]
    if settings[SPECULATED] > 0 and decodes(request):
        left += min(settings[SPECULATED], request[OUTPUT] - request[EMITTED] - 1)
    return left


@inner
def positions(request: Int64Array, tokens: int) -> int:
    """Positions that get logits when a sequence computes ``tokens`` more."""
    return max(0, request[COMPUTED] + tokens + 1 - request[PROMPT] - request[EMITTED])


@inner
def put(
    replica: Int64Array, requests: Int64Array, batch: Int64Array, sequence: int, tokens: int
) -> None:
    """Place a sequence in the batch."""
    request = requests[sequence]
    slot = replica[SCHEDULED]
    batch[SEQUENCE, slot] = sequence
    batch[NEW, slot] = tokens
    batch[PAST, slot] = request[COMPUTED]
    batch[RANK_OF, slot] = request[RANK]
    batch[RANK_TOKENS, request[RANK]] += tokens
    replica[SCHEDULED] = slot + 1
    replica[TOKENS] += tokens
    replica[LOGITS] += positions(request, tokens)
    if request[SCHEDULED_AT] == NEVER:
        request[SCHEDULED_AT] = replica[NOW]


@inner
def take_from_batch(
    replica: Int64Array, requests: Int64Array, batch: Int64Array, sequence: int
) -> None:
    """Take a sequence out of the batch, if it is there."""
    count = replica[SCHEDULED]
    slot = 0
    while slot < count and batch[SEQUENCE, slot] != sequence:
        slot += 1
    if slot == count:
        return
    tokens = batch[NEW, slot]
    replica[TOKENS] -= tokens
    replica[LOGITS] -= positions(requests[sequence], tokens)
    batch[RANK_TOKENS, batch[RANK_OF, slot]] -= tokens
    for later in range(slot + 1, count):
        for row in range(SEQUENCE_ROWS):
            batch[row, later - 1] = batch[row, later]
    replica[SCHEDULED] = count - 1


@inner
def preempt(state: State) -> int:
    """The least urgent sequence, of these the last admitted, gives up its blocks and queues again.

    Returns its index in ``running``.
    """
    settings, replica, requests, _, waiting, running, batch, prefixes = state
    index = replica[RUNNING] - 1
    for other in range(index - 1, -1, -1):
        if requests[running[other], PRIORITY] > requests[running[index], PRIORITY]:
            index = other
    victim = running[index]
    request = requests[victim]
    take_from_batch(replica, requests, batch, victim)
    for later in range(index + 1, replica[RUNNING]):
        running[later - 1] = running[later]
    replica[RUNNING] -= 1
    if settings[PREEMPTION] == SWAP and swap_out(settings, replica, request, prefixes):
        replica[SWAPS] += 1
    else:
        release(settings, replica, request, prefixes)
        request[COMPUTED] = 0
    request[RUNS] = 0
    request[PREEMPTIONS] += 1
    replica[PREEMPTED] += 1
    put_back(replica, requests, waiting, victim)
    return index


@inner
def serve(state: State, index: int, tokens: int) -> int:
    """Place running sequence ``index`` in the batch, at the cost of less urgent ones.

    Returns the index that it has afterwards, -1 where it had to give up its own blocks.
    """
    settings, replica, requests, _, _, running, batch, prefixes = state
    sequence = running[index]
    while not grow(settings, replica, requests[sequence], prefixes, tokens):
        victim = preempt(state)
        if victim == index:
            return -1
        if victim < index:
            index -= 1
    put(replica, requests, batch, sequence, tokens)
    return index


@inner
def to_reserve(request: Int64Array, tokens: int, reserve: int) -> int:
    """Tokens for which an admission takes blocks."""
    if reserve == EVERYTHING:
        return request[PROMPT] + request[OUTPUT] - 1
    if reserve == PROMPT_WHOLE:
        return max(tokens, request[PROMPT] + request[EMITTED])
    return tokens


@inner
def admit(state: State, left: int, whole: bool, reserve: int) -> int:
    """Admit the head of the queue, if batch and cache have room for it.

    It gets at most ``left`` tokens, and no more than its rank has left; a ``whole`` prompt gets all
    of its tokens or, alone in the batch of its rank, all that are left. Returns the tokens, to be
    placed by ``put``; 0 where it has to wait.
    """
    settings, replica, requests, _, waiting, running, batch, prefixes = state
    if replica[QUEUE_HEAD] == replica[QUEUE_TAIL] or replica[RUNNING] >= settings[MOST]:
        return 0
    sequence = waiting[replica[QUEUE_HEAD]]
    request = requests[sequence]
    found = 0
    if request[COMPUTED] == 0 and request[HASH_COUNT] > 0:
        found = cached_prefix(settings, request, prefixes)
    known = request[COMPUTED] + found * settings[HASH_BLOCKS] * BLOCK_TOKENS
    tokens = todo(settings, request) - (known - request[COMPUTED])
    held = (settings, replica, requests, running, batch)
    rank = choose_rank(held, tokens, whole)
    if rank < 0:
        return 0
    left = min(left, settings[RANK_BUDGET] - batch[RANK_TOKENS, rank])
    if tokens > left:
        if whole and batch[RANK_TOKENS, rank] > 0:
            return 0
        tokens = left
    if settings[PREFILL_ONLY] == 1:
        reserve = max(reserve, PROMPT_WHOLE)
    held = request[BLOCKS] + (request[SHARED] + found) * settings[HASH_BLOCKS]
    need = max(0, ceil_div(to_reserve(request, known + tokens, reserve), BLOCK_TOKENS) - held)
    spare = need
    if replica[RUNNING] > 0:
        spare += settings[HEADROOM]
    if found > 0:
        if not share(settings, replica, request, prefixes, found, spare):
            return 0
    elif replica[FREE_BLOCKS] + replica[EVICTABLE] < spare:
        return 0
    take(settings, replica, prefixes, need)
    request[BLOCKS] += need
    if request[SWAPPED] > 0:
        swap_in(replica, request)
    replica[QUEUE_HEAD] += 1
    running[replica[RUNNING]] = sequence
    replica[RUNNING] += 1
    request[RUNS] = 1
    request[RANK] = rank
    if request[SCHEDULED_AT] == NEVER:
        request[FOUND] = known
        replica[PROMPT_TOKENS] += request[PROMPT]
        replica[FOUND_TOKENS] += known
    return tokens
