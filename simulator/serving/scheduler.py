"""An iteration's beginning and end: the batch that the chosen scheduler forms, and what it emits.

A sequence has to hold prompt + emitted tokens in the cache before it emits the next one, so
"tokens still to compute" is the same expression for a prompt, a chunk, a decode step and a
recomputation.
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.admission import NEW, SEQUENCE, State
from simulator.serving.fields import (
    BLOCKS,
    CHUNKED,
    COMPLETED,
    COMPLETED_AT,
    COMPUTED,
    DECODE_FIRST,
    DECODED,
    EMITTED,
    EMITTED_TOKENS,
    ENDED,
    FIRST_TOKEN_AT,
    HASH_COUNT,
    HELD,
    HELD_SHARED,
    HOSTS,
    IN_FLIGHT,
    LAST_TOKEN_AT,
    LOGITS,
    NEVER,
    NO_EVICT,
    NOW,
    OUTPUT,
    PREFILL_FIRST,
    PREFILL_ONLY,
    PROMPT,
    RUNNING,
    RUNS,
    SCHEDULED,
    SCHEDULER,
    SHARED,
    TOKENS,
    VERIFIED,
)
from simulator.serving.kv_cache import publish, release
from simulator.serving.ranks import RANK_TOKENS
from simulator.serving.schedulers.chunked import chunked
from simulator.serving.schedulers.decode_first import decode_first
from simulator.serving.schedulers.no_evict import no_evict
from simulator.serving.schedulers.prefill_first import prefill_first
from simulator.serving.schedulers.static import static
from simulator.serving.speculation import accepted
from simulator.serving.token_gaps import add_gap


@inner
def form_batch(state: State) -> None:
    """Choose the next batch."""
    settings, replica, batch = state[0], state[1], state[6]
    replica[SCHEDULED] = 0
    replica[TOKENS] = 0
    replica[LOGITS] = 0
    for rank in range(settings[HOSTS]):
        batch[RANK_TOKENS, rank] = 0
    scheduler = settings[SCHEDULER]
    if scheduler == CHUNKED:
        chunked(state)
    elif scheduler == PREFILL_FIRST:
        prefill_first(state)
    elif scheduler == DECODE_FIRST:
        decode_first(state)
    elif scheduler == NO_EVICT:
        no_evict(state)
    else:
        static(state)


@inner
def emit(
    settings: Int64Array,
    replica: Int64Array,
    request: Int64Array,
    number: int,
    tokens: int,
    gaps: Int64Array,
) -> bool:
    """Count computed tokens, and what they emit; whether the request leaves the replica."""
    computed = request[COMPUTED] + tokens
    due = request[PROMPT] + request[EMITTED]
    if computed < due:
        request[COMPUTED] = computed
        return False
    drafts = computed - due
    more = accepted(settings, number, request[EMITTED], drafts)
    if request[EMITTED] > 0 and tokens == 1 + drafts:
        replica[VERIFIED] += tokens
        replica[DECODED] += 1 + more
    # The cache of refused drafts is overwritten.
    request[COMPUTED] = due + more
    request[EMITTED] += 1 + more
    replica[EMITTED_TOKENS] += 1 + more
    if request[FIRST_TOKEN_AT] == NEVER:
        request[FIRST_TOKEN_AT] = replica[NOW]
    else:
        add_gap(gaps, replica[NOW] - request[LAST_TOKEN_AT], 1)
    request[LAST_TOKEN_AT] = replica[NOW]
    if request[EMITTED] == request[OUTPUT]:
        request[COMPLETED_AT] = replica[NOW]
        replica[COMPLETED] += 1
        return True
    return settings[PREFILL_ONLY] == 1


@inner
def end_batch(state: State, gaps: Int64Array) -> int:
    """Emit tokens and retire finished sequences at NOW; returns how many left the replica.

    Their numbers are left at the start of the batch's row of sequences. ``gaps`` is the histogram
    of ``serving.token_gaps``.
    """
    settings, replica, requests, _, _, running, batch, prefixes = state
    finished = 0
    for slot in range(replica[SCHEDULED]):
        sequence = batch[SEQUENCE, slot]
        request = requests[sequence]
        leaves = emit(settings, replica, request, sequence, batch[NEW, slot], gaps)
        if request[SHARED] < request[HASH_COUNT]:
            publish(settings, replica, request, prefixes)
        if leaves:
            if request[COMPLETED_AT] == NEVER:
                request[HELD], request[HELD_SHARED] = request[BLOCKS], request[SHARED]
                request[BLOCKS] = 0
                request[SHARED] = 0
            else:
                release(settings, replica, request, prefixes)
            request[RUNS] = 0
            replica[IN_FLIGHT] -= request[PROMPT] + request[EMITTED]
            batch[SEQUENCE, finished] = sequence
            finished += 1
    if finished > 0:
        kept = 0
        for index in range(replica[RUNNING]):
            running[kept] = running[index]
            kept += requests[running[index], RUNS]
        replica[RUNNING] = kept
    replica[SCHEDULED] = 0
    replica[ENDED] = finished
    return finished
