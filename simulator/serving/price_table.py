"""Prices of operators by number of rows, filled in when a batch first needs them."""

from __future__ import annotations

import numpy as np

from simulator.kernels.executor import PRICE_FIELDS
from simulator.timing.attention_prices import WORK_FIELDS
from simulator.timing.decode_memo import MEMO_FIELDS, PARTS, Known, fill_known
from simulator.timing.plan import Plan
from simulator.timing.prices import ATTENTION, LATENT, PLAN_KIND

MEMO_ROWS = 1 << 18


class PriceTable:
    """Prices by number of rows, shared by all replicas with the same plan.

    ``table`` is int64[rows + 1, operators, 2, PRICE_FIELDS], filled one row of tokens or logit
    positions at a time, when a batch first needs it.
    """

    def __init__(self, plan: Plan, rows: int) -> None:
        self.plan = plan
        self._sums_suffice = True
        self.table = np.zeros((rows + 1, len(plan.rows), 2, PRICE_FIELDS), dtype=np.int64)
        self.priced = np.zeros((2, rows + 1), dtype=np.bool_)
        kinds = self.plan.rows[:, PLAN_KIND]
        self._attention = int(np.isin(kinds, (ATTENTION, LATENT)).sum())
        self.known = self._tables(0)
        """What ``timing.decode_memo`` knows of decode iterations."""

    def cover(self, tokens: int) -> None:
        """Be ready for sequences of up to ``tokens`` tokens."""
        if tokens > len(self.known[1]) and self._sums_suffice:
            known = self._tables(tokens)
            work = np.zeros(WORK_FIELDS, dtype=np.int64)
            self._sums_suffice = fill_known(self.plan.packed, work, *known[1:])
            if self._sums_suffice:
                self.known = known

    def _tables(self, contexts: int) -> Known:
        rows = MEMO_ROWS if contexts else 1
        return (
            np.zeros((rows, MEMO_FIELDS), dtype=np.int64),
            np.zeros(contexts, dtype=np.int64),
            np.zeros((contexts, self._attention, PARTS), dtype=np.int64),
        )

    def fill(self, tokens: int, logits: int) -> None:
        """Price a batch of ``tokens`` tokens and ``logits`` positions."""
        for sort, rows in enumerate((tokens, logits)):
            if not self.priced[sort, rows]:
                self.plan.price_rows(rows, sort == 1, self.table[rows])
                self.priced[sort, rows] = True
