"""Nobody who has begun is ever stopped: in-flight batching as TensorRT-LLM does it by default.

Its capacity scheduler (``GUARANTEED_NO_EVICT``, NVIDIA/TensorRT-LLM, docs/source/torch/scheduler.md
and performance/performance-tuning-guide/useful-runtime-flags.md) takes a request only if the cache
has room for its prompt and all of its output, beside what those that run may still need. So there
is no preemption, and fewer sequences run than could for a while. Its micro-batch scheduler then
puts all decodes into the iteration, and whole prompts while the token budget lasts. A prompt beyond
the budget, which TensorRT-LLM refuses unless prompts may be chunked, is computed in pieces.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.serving.admission import EVERYTHING, PROMPT_WHOLE, State, admit, put, todo
from simulator.serving.fields import (
    BUDGET,
    PREFILL_ONLY,
    QUEUE_HEAD,
    QUEUE_TAIL,
    RANK_BUDGET,
    RUNNING,
    TOKENS,
)
from simulator.serving.schedulers.parts import run_decodes, run_prompts


@inner
def no_evict(state: State) -> None:
    """Choose the next batch."""
    settings, replica, requests, _, waiting, running, batch, _ = state
    run_decodes(state)
    run_prompts(state, False)
    # a replica that only prefills gives the blocks on with the prompt
    reserve = PROMPT_WHOLE if settings[PREFILL_ONLY] == 1 else EVERYTHING
    while replica[TOKENS] < settings[BUDGET] and replica[QUEUE_HEAD] < replica[QUEUE_TAIL]:
        whole = todo(settings, requests[waiting[replica[QUEUE_HEAD]]]) <= settings[RANK_BUDGET]
        tokens = admit(state, settings[BUDGET] - replica[TOKENS], whole, reserve)
        if tokens == 0:
            break
        put(replica, requests, batch, running[replica[RUNNING] - 1], tokens)
