"""What a serving loop is told once: options, chip and model as the numbers that it looks up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.serving import fields
from simulator.serving.options import PREEMPTIONS, SCHEDULERS, ServingOptions
from simulator.serving.price_table import PriceTable
from simulator.serving.tiers import tiers_of

Int64Array = npt.NDArray[np.int64]


def settings_of(
    prices: PriceTable, options: ServingOptions, blocks: int, block_bytes: int, hash_tokens: int
) -> Int64Array:
    """The settings of ``serving.fields``, int64[SETTINGS]; roles and stops are left at 0."""
    tiers = tiers_of(prices.plan, options)
    settings = np.zeros(fields.SETTINGS, dtype=np.int64)
    ranks = prices.plan.layout.dp
    settings[fields.RANK_BUDGET] = max(1, options.token_budget // ranks)
    settings[fields.BUDGET] = settings[fields.RANK_BUDGET] * ranks
    settings[fields.MOST] = options.max_batch
    settings[fields.BLOCKS_IN_ALL] = blocks
    settings[fields.HOST_PS] = prices.plan.system.host_iteration_ps
    settings[fields.HOST_SEQUENCE_PS] = prices.plan.system.host_sequence_ps
    settings[fields.HOSTS] = ranks
    settings[fields.SCHEDULER] = SCHEDULERS[options.scheduler]
    settings[fields.PREEMPTION] = PREEMPTIONS[options.preemption]
    settings[fields.HEADROOM] = int(options.watermark * blocks)
    settings[fields.SPECULATED] = options.speculate
    settings[fields.ACCEPTANCE] = int(options.acceptance * 2**32)
    settings[fields.MEETING] = prices.plan.model.tokens_of_all_experts
    settings[fields.SEED] = options.seed & (2**62 - 1)
    settings[fields.BLOCK_BYTES] = block_bytes
    settings[fields.HASH_BLOCKS] = hash_tokens // fields.BLOCK_TOKENS
    settings[fields.WINDOW] = prices.plan.model.window or 0
    if block_bytes:
        settings[fields.HOST_BYTES_PER_S] = tiers.host_bytes_per_s
        settings[fields.POOL_BYTES_PER_S] = tiers.pool_bytes_per_s
        settings[fields.HOST_BLOCKS] = tiers.host_bytes // block_bytes
        settings[fields.POOL_BLOCKS] = tiers.pool_bytes // block_bytes
    return settings
