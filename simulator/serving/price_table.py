"""Prices of operators by number of rows, filled in when a batch first needs them."""

from __future__ import annotations

import numpy as np

from simulator.kernels.executor import PRICE_FIELDS
from simulator.timing.plan import Plan


class PriceTable:
    """Prices by number of rows, shared by all replicas with the same plan.

    ``table`` is int64[rows + 1, operators, 2, PRICE_FIELDS], filled one row of tokens or logit
    positions at a time, when a batch first needs it.
    """

    def __init__(self, plan: Plan, rows: int) -> None:
        self.plan = plan
        self.table = np.zeros((rows + 1, len(plan.rows), 2, PRICE_FIELDS), dtype=np.int64)
        self.priced = np.zeros((2, rows + 1), dtype=np.bool_)

    def fill(self, tokens: int, logits: int) -> None:
        """Price a batch of ``tokens`` tokens and ``logits`` positions."""
        for sort, rows in enumerate((tokens, logits)):
            if not self.priced[sort, rows]:
                self.plan.price_rows(rows, sort == 1, self.table[rows])
                self.priced[sort, rows] = True
