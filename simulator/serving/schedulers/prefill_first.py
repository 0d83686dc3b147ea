"""Prompts before decodes, never both: the default of vLLM's V0 scheduler.

As vLLM 0.6 (vllm/core/scheduler.py, ``_schedule_default``): while prompts wait and fit they are
computed whole, as many as the token budget holds; only where none can be are the running sequences
decoded. Sequences that were swapped out, and whose cache has come from elsewhere, return after the
decodes have been served, and no prompt overtakes them. A prompt beyond the budget, which vLLM
refuses, runs alone in pieces of the budget.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.serving.admission import State
from simulator.serving.fields import PREEMPTED, SCHEDULED
from simulator.serving.schedulers.parts import admit_all, run_decodes, run_prompts


@inner
def prefill_first(state: State) -> None:
    """Choose the next batch."""
    replica = state[1]
    preempted = replica[PREEMPTED]
    run_prompts(state, True)
    if replica[PREEMPTED] == preempted:
        admit_all(state, False)
    if replica[SCHEDULED] == 0:
        run_decodes(state)
        if replica[PREEMPTED] == preempted:
            admit_all(state, True)
