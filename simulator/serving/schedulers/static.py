"""Request-level batching: a batch is formed, and runs until all of its requests have ended.

As FasterTransformer served (Yu et al., Orca, OSDI 2022, section 2; vidur's
faster_transformer_scheduler.py): nobody joins a batch that runs. Blocks for the longest that a
request can become are taken at once, so that nobody is preempted. Its prompts are computed whole,
within the token budget, before anybody decodes. A request that has ended is answered, leaves the
computation and returns its blocks, but not its place.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.serving.admission import EVERYTHING, State, admit
from simulator.serving.fields import BUDGET, RUNNING, SCHEDULED
from simulator.serving.schedulers.parts import run_decodes, run_prompts


@inner
def static(state: State) -> None:
    """Choose the next batch."""
    settings, replica = state[0], state[1]
    if replica[RUNNING] == 0:
        while admit(state, settings[BUDGET], False, EVERYTHING) > 0:
            pass
    run_prompts(state, True)
    if replica[SCHEDULED] == 0:
        run_decodes(state)
