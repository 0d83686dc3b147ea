"""Flows whose bytes become available layer by layer, on links that they share max-min fairly.

Layer l of L of a flow is ready at start + ceil(duration (l + 1) / L); a flow that has sent all that
is ready waits, and leaves its share of the links to the others.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.fabric_links import max_min_rates
from simulator.kernels.jit import inner, kernel

# Fields of a flow.
STATE = 0
START = 1
DURATION = 2
LAYERS = 3
FLOW_FIELDS = 4

# States.
FREE = 0
ACTIVE = 1
ARRIVED = 2

NEVER = np.iinfo(np.int64).max
NEGLIGIBLE = 1e-6
"""Bytes that rounding may leave."""
SLACK_PS = 1e-3
"""What may be missing at the end of a picosecond: rounding must not cost the next one."""


@inner
def layers_ready(flow: Int64Array, now: int) -> int:
    """Layers whose bytes exist by ``now``."""
    since = now - flow[START]
    if since >= flow[DURATION]:
        return flow[LAYERS]
    if since < 0:
        return 0
    return since * flow[LAYERS] // flow[DURATION]


@inner
def skip_layers(
    flows: Int64Array,
    layer_bytes: Float64Array,
    sent: Float64Array,
    now: int,
    until: int,
    took: int,
) -> int:
    """Go through layers that pass as the last one did; the time at which the last of them is gone.

    At ``now`` every active flow has sent what is ready, and the last layer took ``took``. Where
    all have the same layers at the same times, and each is gone before the next one is ready, the
    next ones take as long. The very last layer is left.
    """
    first = -1
    for index in range(len(flows)):
        if flows[index, STATE] != ACTIVE:
            continue
        if first < 0:
            first = index
        for field in range(START, FLOW_FIELDS):
            if flows[index, field] != flows[first, field]:
                return now
    if first < 0:
        return now
    start, duration, layers = flows[first, START], flows[first, DURATION], flows[first, LAYERS]
    if took >= duration // layers:
        return now
    last = layers - 1
    if until - took < start + duration:
        last = min(last, layers_ready(flows[first], until - took))
    if last <= layers_ready(flows[first], now):
        return now
    for index in range(len(flows)):
        if flows[index, STATE] == ACTIVE:
            sent[index] = last * layer_bytes[index]
    return start + ceil_div(last * duration, layers) + took


@kernel
def forward(
    flows: Int64Array,
    layer_bytes: Float64Array,
    sent: Float64Array,
    first: Int64Array,
    link: Int64Array,
    share: Float64Array,
    capacity: Float64Array,
    now: int,
    until: int,
) -> int:
    """Move bytes until a flow has arrived, or until ``until``; returns the time that is reached.

    ``flows`` is int64[flows, FLOW_FIELDS], ``sent`` bytes of each so far; links and shares as in
    ``fabric_links.max_min_rates``, with capacities in bytes a picosecond. Times are whole
    picoseconds, rounded up from SLACK_PS. NEVER where nothing will arrive.
    """
    count = len(flows)
    sending = np.zeros(count, dtype=np.int64)
    ready = np.zeros(count, dtype=np.float64)
    ends = np.zeros(count, dtype=np.int64)
    rates = np.zeros(count, dtype=np.float64)
    # when the layer was ready that is being sent, if nothing else was sent then
    began = NEVER
    while True:
        then = until
        arrived = False
        any_sending = False
        for index in range(count):
            sending[index] = 0
            if flows[index, STATE] != ACTIVE:
                continue
            layers = layers_ready(flows[index], now)
            ready[index] = layers * layer_bytes[index]
            if ready[index] - sent[index] > NEGLIGIBLE:
                sending[index] = 1
                any_sending = True
            elif layers == flows[index, LAYERS]:
                flows[index, STATE] = ARRIVED
                arrived = True
            else:
                wait = ceil_div((layers + 1) * flows[index, DURATION], flows[index, LAYERS])
                then = min(then, flows[index, START] + wait)
        if arrived:
            return now
        if not any_sending:
            if began != NEVER:
                later = skip_layers(flows, layer_bytes, sent, now, until, now - began)
                began = NEVER
                if later > now:
                    now = later
                    continue
            if then < until:
                began = then
        else:
            max_min_rates(first, link, share, capacity, sending, rates)
        for index in range(count):
            ends[index] = NEVER
            if sending[index] and rates[index] > 0.0:
                need = np.ceil((ready[index] - sent[index]) / rates[index] - SLACK_PS)
                if need < 1e18:
                    ends[index] = now + int(need)
                    then = min(then, ends[index])
        if then == NEVER:
            return NEVER
        moved = False
        for index in range(count):
            if sending[index]:
                if ends[index] <= then:
                    sent[index] = ready[index]
                    moved = True
                elif then > now:
                    sent[index] += rates[index] * (then - now)
        # On a link without limit bytes move in no time, so the end is not reached with ``until``.
        if now >= until and not moved:
            return now
        now = then
