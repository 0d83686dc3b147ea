"""What several schedulers do alike: whole prompts, and the decodes of all that run."""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.serving.admission import (
    CHUNK,
    PROMPT_WHOLE,
    State,
    admit,
    decodes,
    put,
    serve,
    todo,
)
from simulator.serving.fields import (
    BUDGET,
    HOSTS,
    QUEUE_HEAD,
    QUEUE_TAIL,
    RANK_BUDGET,
    RUNNING,
    TOKENS,
)
from simulator.serving.ranks import budget_of


@inner
def run_prompts(state: State, whole: bool) -> None:
    """Place the running sequences that have not computed their prompt, in order of admission.

    With ``whole`` each gets all of its tokens or, alone in the batch of its rank, all of the
    rank's budget.
    """
    settings, replica, requests, _, _, running, batch, _ = state
    index = 0
    while index < replica[RUNNING] and replica[TOKENS] < settings[BUDGET]:
        request = requests[running[index]]
        if not decodes(request):
            left = budget_of(settings, batch, request)
            tokens = todo(settings, request)
            if tokens > left:
                if whole and left < settings[RANK_BUDGET]:
                    if settings[HOSTS] == 1:
                        return
                    left = 0
                tokens = left
            if tokens > 0:
                index = serve(state, index, tokens)
                if index < 0:
                    return
        index += 1


@inner
def run_decodes(state: State) -> None:
    """Place the running sequences that decode, in order of admission."""
    settings, replica, requests, _, _, running, batch, _ = state
    index = 0
    while index < replica[RUNNING] and replica[TOKENS] < settings[BUDGET]:
        request = requests[running[index]]
        left = budget_of(settings, batch, request)
        if decodes(request) and left > 0:
            index = serve(state, index, min(todo(settings, request), left))
            if index < 0:
                return
        index += 1


@inner
def admit_all(state: State, decoding: bool) -> None:
    """Admit whole prompts from the head of the queue, or requests that decode, while there is room.

    A request of the queue decodes where its cache was swapped out or came from elsewhere.
    """
    settings, replica, requests, _, waiting, running, batch, _ = state
    while replica[TOKENS] < settings[BUDGET] and replica[QUEUE_HEAD] < replica[QUEUE_TAIL]:
        if decodes(requests[waiting[replica[QUEUE_HEAD]]]) != decoding:
            return
        left = settings[BUDGET] - replica[TOKENS]
        tokens = admit(state, left, not decoding, CHUNK if decoding else PROMPT_WHOLE)
        if tokens == 0:
            return
        put(replica, requests, batch, running[replica[RUNNING] - 1], tokens)
