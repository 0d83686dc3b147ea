"""Schedules as one vector of integers, for the kernels that price a step."""

from __future__ import annotations

import numpy as np

from simulator.fabric.collectives import engine_schedules
from simulator.fabric.parts import OPS, Op
from simulator.hardware.fabric import Fabric
from simulator.kernels.arrays import Int64Array
from simulator.kernels.fabric_price import HEAD_FIELDS, HEAD_OFFSET, HEAD_SCHEDULES

OP_INDEX: dict[Op, int] = {op: index for index, op in enumerate(OPS)}
"""The numbers by which ``kernels.fabric_price`` knows the operations."""


def pack_fabric(fabric: Fabric, ops: tuple[Op, ...] = OPS) -> Int64Array:
    """The table that ``kernels.fabric_price.collective`` reads, for a group on ``fabric``.

    Inside a step the serving engine's own kernels are there too: ``price_collective`` with
    algorithm ``engine`` gives the same times.
    """
    head = [0] * (HEAD_FIELDS * len(OPS))
    body: list[int] = []
    for op in ops:
        offered = engine_schedules(fabric, op)
        head[OP_INDEX[op] * HEAD_FIELDS + HEAD_SCHEDULES] = len(offered)
        head[OP_INDEX[op] * HEAD_FIELDS + HEAD_OFFSET] = len(head) + len(body)
        for schedule in offered:
            body += [schedule.fixed_ps, len(schedule.phases), schedule.largest]
            for phase in schedule.phases:
                body += [
                    phase.steps,
                    phase.latency_ps,
                    phase.link_num,
                    phase.link_den,
                    phase.rate,
                    phase.reduce_num,
                    phase.reduce_den,
                    phase.reduce_rate,
                    phase.fill_ps,
                ]
    return np.array(head + body, dtype=np.int64)
