"""Ranks that share the sequences of a replica: which one gets a new one, what it computes.

Each has an equal part of the token budget and of the batch, and keeps a sequence until it ends or
is preempted (vLLM's and TensorRT-LLM's data-parallel attention; both give a request to the rank
with the fewest). A replica without data-parallel attention has one rank.
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.fields import HOSTS, MOST, RANK, RANK_BUDGET, RUNNING

# Rows of a batch (``serving.admission``) that have a column for each rank.
RANK_TOKENS = 4
"""Tokens of the batch on a rank."""
RANK_SEQUENCES = 5
"""Where sequences that run on a rank are counted."""

Held = tuple[Int64Array, Int64Array, Int64Array, Int64Array, Int64Array]
"""(settings, replica, requests, running, batch)"""


@inner
def budget_of(settings: Int64Array, batch: Int64Array, request: Int64Array) -> int:
    """Tokens that the batch may still have on the rank of a sequence."""
    left: int = settings[RANK_BUDGET] - batch[RANK_TOKENS, request[RANK]]
    return left


@inner
def choose_rank(held: Held, tokens: int, whole: bool) -> int:
    """The rank that gets a new sequence: of those that have room for its ``tokens`` in this batch
    (for the first of them, unless they have to be computed as a ``whole``) the one with the fewest
    sequences, the first of equals; -1 where none has."""
    settings, replica, requests, running, batch = held
    if settings[HOSTS] == 1:
        return 0
    counts = batch[RANK_SEQUENCES]
    for rank in range(settings[HOSTS]):
        counts[rank] = 0
    for index in range(replica[RUNNING]):
        counts[requests[running[index], RANK]] += 1
    best = -1
    for rank in range(settings[HOSTS]):
        used = batch[RANK_TOKENS, rank]
        full = used >= settings[RANK_BUDGET] or counts[rank] * settings[HOSTS] >= settings[MOST]
        if whole and used > 0 and used + tokens > settings[RANK_BUDGET]:
            full = True
        if not full and (best < 0 or counts[rank] < counts[best]):
            best = rank
    return best
