"""The requests of a workload as the serving loops keep them, before anything has happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.serving import fields
from simulator.serving.fitting import Fitted, smallest_tokens
from simulator.serving.pools import Deployment
from simulator.serving.status import REJECTED_CONTEXT, REJECTED_KV
from simulator.workload.request import PrefixBlocks, Requests, Workload

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HashBlocks:
    """Content ids of all hash blocks, each of ``block_tokens`` tokens; None without a cache."""

    ids: Int64Array | None = None
    block_tokens: int = fields.BLOCK_TOKENS


def request_rows(
    workload: Workload, deployment: Deployment, fitted: dict[int, Fitted]
) -> tuple[Int64Array, Int64Array]:
    """int64[requests, fields.REQUEST_FIELDS], and the status of those that can never fit.

    A sequence holds prompt + output - 1 tokens when it emits its last.
    """
    traffic = workload.traffic
    rows = np.zeros((len(traffic), fields.REQUEST_FIELDS), dtype=np.int64)
    rows[:, fields.PROMPT] = traffic.prompt_tokens
    rows[:, fields.OUTPUT] = traffic.output_tokens
    for column in (fields.SCHEDULED_AT, fields.FIRST_TOKEN_AT, fields.COMPLETED_AT):
        rows[:, column] = fields.NEVER
    if isinstance(traffic, Requests):
        rows[:, fields.ARRIVAL] = traffic.arrival_ps
    if traffic.priority is not None:
        rows[:, fields.PRIORITY] = traffic.priority
    longest = traffic.prompt_tokens + traffic.output_tokens
    status = np.zeros(len(traffic), dtype=np.int64)
    pools = deployment.pools
    status[longest - 1 > smallest_tokens(pools[-1], fitted)] = REJECTED_KV
    if len(pools) == 2:
        status[traffic.prompt_tokens > smallest_tokens(pools[0], fitted)] = REJECTED_KV
    contexts = [m.plan.model.max_context for pool in pools for m in pool.members]
    status[longest > min(contexts)] = REJECTED_CONTEXT
    return rows, status


def name_prefixes(rows: Int64Array, prefix: PrefixBlocks, workload: str) -> HashBlocks:
    """Say in ``rows`` which blocks each prompt begins with, whole ones only.

    Raises:
        InputError: blocks that are not made of whole cache blocks.
    """
    if prefix.block_tokens % fields.BLOCK_TOKENS:
        raise InputError(
            f"workload '{workload}' names prefixes in blocks of "
            f"{prefix.block_tokens} tokens, expected a multiple of {fields.BLOCK_TOKENS}"
        )
    rows[:, fields.HASH_FIRST] = prefix.starts
    whole = rows[:, fields.PROMPT] // prefix.block_tokens
    rows[:, fields.HASH_COUNT] = np.minimum(prefix.counts, whole)
    return HashBlocks(prefix.ids, prefix.block_tokens)
