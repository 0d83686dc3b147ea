"""Prices of operators by number of rows, filled in when a batch first needs them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.kernels.executor import PRICE_FIELDS, TOTAL_FIELDS
from simulator.serving import compile_ahead, fields, token_gaps
from simulator.serving.decode_run import AHEAD, Scratch
from simulator.serving.options import ServingOptions
from simulator.timing.decode_prices import PARTS, Known, fill_works
from simulator.timing.outline import groups_of
from simulator.timing.plan import Plan
from simulator.timing.prices import ATTENTION, LATENT, PLAN_KIND
from simulator.timing.work import WORK_FIELDS

Int64Array = npt.NDArray[np.int64]


def most_rows(plan: Plan, options: ServingOptions) -> int:
    """Rows that operators compute at most: those of the budget, or what a batch is padded to."""
    ranks = plan.layout.dp
    each = max(1, options.token_budget // ranks)
    sequences = min(each, -(-options.max_batch // ranks))
    return max(options.token_budget, each * ranks, plan.padded_rows(sequences))


class PriceTable:
    """Prices by number of rows, shared by all replicas with the same plan.

    ``table`` is int64[rows + 1, operators, 2, PRICE_FIELDS], filled one row of tokens or logit
    positions at a time, when a batch first needs it. Its first row is for the last batch of ranks
    with unequal numbers of tokens (``Plan.price_uneven``).
    """

    def __init__(self, plan: Plan, rows: int) -> None:
        compile_ahead.start()
        self.plan = plan
        self.asked = np.zeros(fields.ASKED_FIELDS, dtype=np.int64)
        """What the serving loop wants prices of, and what the table's first row is for."""
        self._covered = 0
        self._requests: Int64Array | None = None
        self.table = np.zeros((rows + 1, len(plan.rows), 2, PRICE_FIELDS), dtype=np.int64)
        self.priced = np.zeros((2, rows + 1), dtype=np.bool_)
        self.known = self._known(0, 0)
        """What ``timing.decode_prices`` knows of decode iterations."""
        self.gaps = np.zeros(token_gaps.GAP_FIELDS, dtype=np.int64)
        """The times between tokens on all its replicas, see ``serving.token_gaps``."""
        self.scratch = self._scratch(0)

    def cover(self, requests: Int64Array) -> None:
        """Be ready for the sequences of ``requests``, int64[requests, fields.REQUEST_FIELDS].

        All replicas of a run have the same ones.
        """
        if requests is self._requests:
            return
        self._requests = requests
        longest = requests[:, fields.PROMPT] + requests[:, fields.OUTPUT]
        tokens = min(int(longest.max(initial=0)), self.plan.model.max_context) + 1
        width = int(np.isin(self.plan.rows[:, PLAN_KIND], (ATTENTION, LATENT)).sum()) * PARTS
        if self._covered >= tokens:
            return
        self._covered = tokens
        known = self._known(len(self.table), tokens * width)
        if not fill_works(self.plan.packed, np.zeros(WORK_FIELDS, dtype=np.int64), known[3]):
            known, width = self._known(len(self.table), 0), 0
        self.known = known
        self.scratch = self._scratch(width)

    def _known(self, rows: int, works: int) -> Known:
        plan = self.plan
        return (
            np.zeros((rows, len(plan.stages), TOTAL_FIELDS), dtype=np.int64),
            np.zeros(rows, dtype=np.bool_),
            groups_of(plan.rows, plan.weighted, plan.sections, plan.stages),
            np.zeros(works, dtype=np.int64),
        )

    def _scratch(self, width: int) -> Scratch:
        return (
            np.zeros(self.table.shape[1:], dtype=np.int64),
            np.zeros(TOTAL_FIELDS, dtype=np.int64),
            np.zeros(AHEAD, dtype=np.int64),
            np.zeros(AHEAD * width, dtype=np.int64),
            self.gaps,
            (
                np.zeros(TOTAL_FIELDS, dtype=np.int64),
                np.zeros((len(self.plan.stages), TOTAL_FIELDS), dtype=np.int64),
                np.zeros(WORK_FIELDS, dtype=np.int64),
            ),
            self.asked,
        )

    def fill(self) -> None:
        """Price what is asked for."""
        rows, tokens, logits = self.asked[: fields.UNEVEN_ROWS].tolist()
        for sort, count in enumerate((rows, logits)):
            if not self.priced[sort, count]:
                self.plan.price_rows(count, sort == 1, self.table[count])
                self.priced[sort, count] = True
        if rows != tokens:
            self.plan.price_uneven(rows, tokens, self.table[0])
            self.asked[fields.UNEVEN_ROWS :] = rows, tokens
