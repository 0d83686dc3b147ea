"""Prices of operators by number of rows, filled in when a batch first needs them."""

from __future__ import annotations

import numpy as np

from simulator.kernels.executor import PRICE_FIELDS, TOTAL_FIELDS
from simulator.serving.decode_run import AHEAD, AHEAD_ROWS
from simulator.timing import compile_ahead
from simulator.timing.decode_memo import MEMO_FIELDS, PARTS, Known, fill_known
from simulator.timing.plan import Plan
from simulator.timing.prices import ATTENTION, LATENT, PLAN_KIND
from simulator.timing.work import WORK_FIELDS

MEMO_ROWS = 1 << 18


class PriceTable:
    """Prices by number of rows, shared by all replicas with the same plan.

    ``table`` is int64[rows + 1, operators, 2, PRICE_FIELDS], filled one row of tokens or logit
    positions at a time, when a batch first needs it.
    """

    def __init__(self, plan: Plan, rows: int) -> None:
        compile_ahead.start()
        self.plan = plan
        self.table = np.zeros((rows + 1, len(plan.rows), 2, PRICE_FIELDS), dtype=np.int64)
        self.priced = np.zeros((2, rows + 1), dtype=np.bool_)
        self.scratch = (
            np.zeros(self.table.shape[1:], dtype=np.int64),
            np.zeros(TOTAL_FIELDS, dtype=np.int64),
            np.zeros((AHEAD_ROWS, AHEAD), dtype=np.int64),
        )
        """Room that the serving loop writes into, see ``serving.loop``."""
        kinds = self.plan.rows[:, PLAN_KIND]
        self._attention = int(np.isin(kinds, (ATTENTION, LATENT)).sum())
        self.known = self._tables(0)
        """What ``timing.decode_memo`` knows of decode iterations."""

    def cover(self, tokens: int) -> None:
        """Be ready for sequences of up to ``tokens`` tokens."""
        if tokens <= len(self.known[1]):
            return
        memo, forms, works = self._tables(tokens)
        work = np.zeros(WORK_FIELDS, dtype=np.int64)
        if not fill_known(self.plan.packed, work, forms, works):
            forms[:] = 0
            works = works[:0]
        self.known = (memo, forms, works)

    def _tables(self, contexts: int) -> Known:
        rows = MEMO_ROWS if contexts else 1
        return (
            np.zeros((rows, MEMO_FIELDS), dtype=np.int64),
            np.zeros(contexts, dtype=np.int64),
            np.zeros((contexts, self._attention, PARTS), dtype=np.int64),
        )

    def fill(self, tokens: int, logits: int) -> None:
        """Price a batch of ``tokens`` tokens and ``logits`` positions."""
        compile_ahead.wait()
        for sort, rows in enumerate((tokens, logits)):
            if not self.priced[sort, rows]:
                self.plan.price_rows(rows, sort == 1, self.table[rows])
                self.priced[sort, rows] = True
