"""The routed experts of a plan: their price for any number of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.executor import DURATION, PRICE_FIELDS
from simulator.model.layers import Experts
from simulator.model.layout import Layout
from simulator.timing import prices as pricing
from simulator.timing.choices import MOE_MODES
from simulator.timing.expert_limits import last_below, limits_of
from simulator.timing.expert_load import parse_expert_load, version_of
from simulator.timing.moe_prices import mean_load, price_moe


@dataclass(frozen=True)
class RoutedExperts:
    """Expert operators among the ``rows`` of a ``timing.plan.Plan``, whose arrays these are.

    ``load`` says how unevenly the router loads the ``experts``, None where the model has none.
    """

    chip: Int64Array
    fabrics: Int64Array
    bits: Int64Array
    rows: Int64Array
    layout: Layout
    load: str
    experts: Experts | None
    _at_limits: dict[tuple[int, str, bool, float], int] = field(default_factory=dict)

    def price(
        self,
        index: int,
        rows: int,
        mode: str,
        exchange: bool,
        into: Int64Array,
        tokens: int | None = None,
    ) -> None:
        """Fill ``into`` (int64[PRICE_FIELDS]) for operator ``index``, in the ``mode`` that is asked
        for, with its exchange over the fabric or as if that cost nothing.

        ``rows`` are those of all ranks; only so many ``tokens`` are there where given.

        A layer takes no less time than with the most tokens of a smaller tile
        (``timing.expert_limits``).
        """
        self._price_tiles(index, rows, mode, exchange, into, tokens)
        limits = limits_of(self.chip, self.bits, self.rows[index])
        mean = self._mean_load(index, rows) if limits else 0.0
        for limit in limits:
            if mean <= limit:
                break
            key = index, mode, exchange, limit
            if key not in self._at_limits:
                most = last_below(lambda n: self._mean_load(index, n), limit, rows)
                least = np.zeros(PRICE_FIELDS, dtype=np.int64)
                if most > 0:
                    self._price_tiles(index, most, mode, exchange, least)
                self._at_limits[key] = int(least[DURATION])
            into[DURATION] = max(into[DURATION], self._at_limits[key])

    def _mean_load(self, index: int, rows: int) -> float:
        """Mean load of an expert as the kernels of operator ``index`` see it."""
        own, group = self._expert_tokens(index, rows)
        return float(mean_load(self.rows[index], own, group, self._expert_load(rows)))

    def _expert_tokens(self, index: int, rows: int) -> tuple[int, int]:
        """Tokens of a rank and of its group, for the rows of all ranks."""
        row = self.rows[index]
        own = -(-rows // int(row[pricing.PLAN_SPLIT]))
        return own, own * int(row[pricing.PLAN_RANKS])

    def _price_tiles(
        self,
        index: int,
        rows: int,
        mode: str,
        exchange: bool,
        into: Int64Array,
        tokens: int | None = None,
    ) -> None:
        """``price`` with the tile for this mean load alone."""
        row = self.rows[index]
        table = self.fabrics[row[pricing.PLAN_GROUP]]
        own, group = self._expert_tokens(index, rows)
        if tokens is not None:
            group = min(group, -(-tokens // (self.layout.ffn_dp * self.layout.micro_batches)))
        price_moe(
            self.chip,
            table if exchange else np.zeros_like(table),
            self.bits,
            row,
            own,
            group,
            self._expert_load(rows if tokens is None else tokens),
            MOE_MODES[mode],
            into,
        )

    def _expert_load(self, rows: int) -> Float64Array:
        """Shares of the busiest rank's experts; a single one where the model has none."""
        experts = self.experts
        if experts is None:
            return np.ones(1)
        # of the group of expert ranks, which is one of several where there are ffn_dp
        tokens = -(-rows // (self.layout.ffn_dp * self.layout.micro_batches))
        if self.load == "balanced":
            tokens = 0
        return _load(
            self.load,
            version_of(self.load),
            experts.experts,
            self.layout.redundant_experts,
            self.layout.ep,
            tokens,
            experts.top_k,
        )


@lru_cache(maxsize=4096)
def _load(
    text: str,
    version: tuple[int, int] | None,
    experts: int,
    copies: int,
    ranks: int,
    tokens: int,
    top_k: int,
) -> Float64Array:
    """Shares of the busiest rank.

    ``version`` is that of a file of loads, whose shares are kept until it changes.
    """
    return parse_expert_load(text, experts, ranks, max(1, tokens), top_k, copies)
