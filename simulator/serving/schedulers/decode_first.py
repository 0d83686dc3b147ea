"""Decodes never wait for prompts: stall-free batching (Agrawal et al., Sarathi-Serve, OSDI 2024).

As algorithm 3 there and sarathi/core/scheduler/sarathi_scheduler.py: every running decode is in
the batch, what is left of the token budget goes to prompts that have begun, and then to new ones,
in chunks. The blocks of a whole prompt are taken when it is admitted. ``chunked`` differs where
the budget is short: there a prompt that was admitted earlier goes before a decode.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.serving.admission import PROMPT_WHOLE, State, admit, put
from simulator.serving.fields import BUDGET, PREEMPTED, RUNNING, TOKENS
from simulator.serving.schedulers.parts import run_decodes, run_prompts


@inner
def decode_first(state: State) -> None:
    """Choose the next batch."""
    settings, replica, requests, _, _, running, batch, _ = state
    preempted = replica[PREEMPTED]
    run_decodes(state)
    run_prompts(state, False)
    while replica[PREEMPTED] == preempted and replica[TOKENS] < settings[BUDGET]:
        tokens = admit(state, settings[BUDGET] - replica[TOKENS], False, PROMPT_WHOLE)
        if tokens == 0:
            break
        put(replica, requests, batch, running[replica[RUNNING] - 1], tokens)
