"""Who is in the next batch: continuous batching with chunked prefill, first come first served.

The semantics are those of vLLM 0.8's V1 scheduler (vllm/v1/core/sched/scheduler.py): running
sequences are served first, in order of admission, each with as many tokens as it still has to
compute (one when it decodes) within the token budget; then waiting ones are admitted while budget,
batch and KV blocks last. When blocks run out the sequence that was admitted last gives up its
blocks, goes to the head of the queue and is recomputed; in such an iteration nobody is admitted.

A sequence has to hold prompt + emitted tokens in the cache before it emits the next one, so
"tokens still to compute" is the same expression for a prompt, a chunk, a decode step and a
recomputation.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.accumulators import add_gap

# Fields of a request, int64[requests, REQUEST_FIELDS].
ARRIVAL = 0
PROMPT = 1
OUTPUT = 2
COMPUTED = 3
"""Tokens whose keys and values are in the cache."""
EMITTED = 4
BLOCKS = 5
SCHEDULED_AT = 6
FIRST_TOKEN_AT = 7
COMPLETED_AT = 8
PREEMPTIONS = 9
LAST_TOKEN_AT = 10
REQUEST_FIELDS = 11

# Counters of a replica, int64[COUNTERS].
NOW = 0
QUEUE_HEAD = 1
QUEUE_TAIL = 2
RUNNING = 3
FREE_BLOCKS = 4
SCHEDULED = 5
"""Sequences in the batch that is being formed or priced; 0 when there is none."""
TOKENS = 6
LOGITS = 7
ITERATIONS = 8
PREEMPTED = 9
COMPLETED = 10
LOGGED = 11
PEAK_BLOCKS = 12
ENDED = 13
"""Sequences that the last iteration finished."""
COUNTERS = 14

BLOCK_TOKENS = 16
"""Tokens of a block of the paged KV cache (vLLM's default)."""

NEVER = -1


@inner
def preempt_last(
    replica: Int64Array, requests: Int64Array, waiting: Int64Array, running: Int64Array
) -> int:
    """Take the blocks of the sequence that was admitted last; returns that sequence."""
    replica[RUNNING] -= 1
    victim = running[replica[RUNNING]]
    replica[FREE_BLOCKS] += requests[victim, BLOCKS]
    requests[victim, BLOCKS] = 0
    requests[victim, COMPUTED] = 0
    requests[victim, PREEMPTIONS] += 1
    replica[PREEMPTED] += 1
    replica[QUEUE_HEAD] -= 1
    waiting[replica[QUEUE_HEAD]] = victim
    return victim


@inner
def grow(replica: Int64Array, requests: Int64Array, sequence: int, tokens: int) -> bool:
    """Give a sequence the blocks for ``tokens`` more tokens; False where they are not free."""
    held = requests[sequence, BLOCKS]
    need = ceil_div(requests[sequence, COMPUTED] + tokens, BLOCK_TOKENS) - held
    if need > replica[FREE_BLOCKS]:
        return False
    replica[FREE_BLOCKS] -= need
    requests[sequence, BLOCKS] = held + need
    return True


@inner
def put(
    replica: Int64Array,
    requests: Int64Array,
    sequence: int,
    tokens: int,
    new: Int64Array,
    past: Int64Array,
) -> None:
    """Place a sequence in the batch."""
    slot = replica[SCHEDULED]
    new[slot] = tokens
    past[slot] = requests[sequence, COMPUTED]
    replica[SCHEDULED] = slot + 1
    replica[TOKENS] += tokens
    held = requests[sequence, COMPUTED] + tokens
    if held == requests[sequence, PROMPT] + requests[sequence, EMITTED]:
        replica[LOGITS] += 1


@inner
def form_batch(
    replica: Int64Array,
    requests: Int64Array,
    waiting: Int64Array,
    running: Int64Array,
    budget: int,
    most: int,
    new: Int64Array,
    past: Int64Array,
) -> None:
    """Choose the next batch.

    ``waiting`` is a queue between QUEUE_HEAD and QUEUE_TAIL; ``running`` holds the admitted
    sequences, of which the first SCHEDULED are in the batch with ``new`` tokens after ``past``.
    """
    replica[SCHEDULED] = 0
    replica[TOKENS] = 0
    replica[LOGITS] = 0
    left = budget
    preempted = False
    index = 0
    while index < replica[RUNNING] and left > 0:
        sequence = running[index]
        todo = requests[sequence, PROMPT] + requests[sequence, EMITTED]
        tokens = min(todo - requests[sequence, COMPUTED], left)
        lost = False
        while not grow(replica, requests, sequence, tokens):
            preempted = True
            if preempt_last(replica, requests, waiting, running) == sequence:
                lost = True
                break
        if lost:
            break
        put(replica, requests, sequence, tokens, new, past)
        left -= tokens
        index += 1
    while (
        not preempted
        and left > 0
        and replica[RUNNING] < most
        and replica[SCHEDULED] == replica[RUNNING]
        and replica[QUEUE_HEAD] < replica[QUEUE_TAIL]
    ):
        sequence = waiting[replica[QUEUE_HEAD]]
        tokens = min(requests[sequence, PROMPT] + requests[sequence, EMITTED], left)
        if not grow(replica, requests, sequence, tokens):
            break
        replica[QUEUE_HEAD] += 1
        running[replica[RUNNING]] = sequence
        replica[RUNNING] += 1
        if requests[sequence, SCHEDULED_AT] == NEVER:
            requests[sequence, SCHEDULED_AT] = replica[NOW]
        put(replica, requests, sequence, tokens, new, past)
        left -= tokens


@inner
def end_batch(
    replica: Int64Array, requests: Int64Array, running: Int64Array, new: Int64Array
) -> int:
    """Emit tokens and retire finished sequences at NOW; returns how many finished.

    Their numbers are left at the start of ``new``, which has been used up by then.
    """
    kept = 0
    finished = 0
    for index in range(replica[RUNNING]):
        sequence = running[index]
        if index < replica[SCHEDULED]:
            requests[sequence, COMPUTED] += new[index]
            due = requests[sequence, PROMPT] + requests[sequence, EMITTED]
            if requests[sequence, COMPUTED] == due:
                requests[sequence, EMITTED] += 1
                if requests[sequence, EMITTED] == 1:
                    requests[sequence, FIRST_TOKEN_AT] = replica[NOW]
                else:
                    add_gap(replica, replica[NOW] - requests[sequence, LAST_TOKEN_AT])
                requests[sequence, LAST_TOKEN_AT] = replica[NOW]
                if requests[sequence, EMITTED] == requests[sequence, OUTPUT]:
                    requests[sequence, COMPLETED_AT] = replica[NOW]
                    replica[FREE_BLOCKS] += requests[sequence, BLOCKS]
                    requests[sequence, BLOCKS] = 0
                    new[finished] = sequence
                    finished += 1
                    continue
        running[kept] = sequence
        kept += 1
    replica[RUNNING] = kept
    replica[SCHEDULED] = 0
    replica[COMPLETED] += finished
    replica[ENDED] = finished
    return finished
