"""Continuous batching with chunked prefill, as vLLM 0.8 (vllm/v1/core/sched/scheduler.py).

Running sequences are served first, in order of admission, each with as many tokens as it still has
to compute (one when it decodes) within the token budget; then waiting ones are admitted while
budget, batch and KV blocks last. When blocks run out the sequence that was admitted last gives up
its own and goes to the head of the queue; in such an iteration nobody is admitted.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.serving.admission import CHUNK, State, admit, put, serve, todo
from simulator.serving.fields import BUDGET, PREEMPTED, RUNNING, TOKENS
from simulator.serving.ranks import budget_of


@inner
def chunked(state: State) -> None:
    """Choose the next batch."""
    settings, replica, requests, _, _, running, batch, _ = state
    budget = settings[BUDGET]
    preempted = replica[PREEMPTED]
    index = 0
    while index < replica[RUNNING] and replica[TOKENS] < budget:
        request = requests[running[index]]
        tokens = min(todo(settings, request), budget_of(settings, batch, request))
        if tokens > 0:
            index = serve(state, index, tokens)
            if index < 0:
                break
        index += 1
    while replica[PREEMPTED] == preempted and replica[TOKENS] < budget:
        tokens = admit(state, budget - replica[TOKENS], False, CHUNK)
        if tokens == 0:
            break
        put(replica, requests, batch, running[replica[RUNNING] - 1], tokens)
