"""Prices of operators by number of rows, filled in when a batch first needs them."""

from __future__ import annotations

import numpy as np

from simulator.kernels.executor import PRICE_FIELDS
from simulator.timing.attention_prices import WORK_FIELDS
from simulator.timing.decode_memo import MEMO_FIELDS, fill_weights
from simulator.timing.plan import Plan

MEMO_ROWS = 1 << 18


class PriceTable:
    """Prices by number of rows, shared by all replicas with the same plan.

    ``table`` is int64[rows + 1, operators, 2, PRICE_FIELDS], filled one row of tokens or logit
    positions at a time, when a batch first needs it. ``memo`` and ``weights`` are those of
    ``timing.decode_memo``.
    """

    def __init__(self, plan: Plan, rows: int) -> None:
        self.plan = plan
        self._sums_suffice = True
        self.table = np.zeros((rows + 1, len(plan.rows), 2, PRICE_FIELDS), dtype=np.int64)
        self.priced = np.zeros((2, rows + 1), dtype=np.bool_)
        self.memo = np.zeros((MEMO_ROWS, MEMO_FIELDS), dtype=np.int64)
        self.weights = np.zeros(0, dtype=np.int64)
        """By number of cached tokens; empty where decode iterations are not memoised."""

    def cover(self, tokens: int) -> None:
        """Be ready for sequences of up to ``tokens`` tokens."""
        if tokens > len(self.weights) and self._sums_suffice:
            weights = np.zeros(tokens, dtype=np.int64)
            work = np.zeros(WORK_FIELDS, dtype=np.int64)
            self._sums_suffice = fill_weights(self.plan.packed, work, 0, weights)
            if self._sums_suffice:
                self.weights = weights

    def fill(self, tokens: int, logits: int) -> None:
        """Price a batch of ``tokens`` tokens and ``logits`` positions."""
        for sort, rows in enumerate((tokens, logits)):
            if not self.priced[sort, rows]:
                self.plan.price_rows(rows, sort == 1, self.table[rows])
                self.priced[sort, rows] = True
