"""A model on a system as arrays: what the kernels need to price any batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from simulator.errors import InfeasibleError
from simulator.hardware import System
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.executor import COLD, DURATION, PRICE_FIELDS
from simulator.mapping.layout import check_layout, choose_layout
from simulator.mapping.memory import Memory, memory_of
from simulator.mapping.shard import Sharded
from simulator.model.layout import Layout
from simulator.model.operators import Matmul, Operator, Section
from simulator.model.transformer import Transformer
from simulator.timing import prices as pricing
from simulator.timing.batch import PIPELINE_FIELDS, Packed, Rows
from simulator.timing.choices import Dtypes, ExpertOptions, Speculation
from simulator.timing.evidence import is_grouped
from simulator.timing.expert_form import expert_form
from simulator.timing.hbm import resolve_memory
from simulator.timing.plan_rows import lay_out, pack_groups, section_rows, stage_rows
from simulator.timing.rank_rows import most_rows, rows_of
from simulator.timing.routed_experts import RoutedExperts
from simulator.timing.rows import price_rows
from simulator.timing.sequences import Batch


@dataclass(frozen=True)
class Plan:
    """One replica's work, packed for the kernels.

    ``chip`` and ``bits`` are those of matmuls and of all that rows alone decide, ``attention``
    those of attention, which depend on the cache and have 16 bits beside matmuls of 4.
    ``rows`` is int64[operators, PLAN_FIELDS], ``weighted`` bool[operators], ``sections`` int64[
    sections, 3] (first operator, count, repeats), ``stages`` int64[kinds, STAGE_FIELDS] and
    ``pipeline`` of ``timing.batch``, ``fabrics`` int64[groups, fields] (each
    group's table of ``fabric.pack``), ``of_sort`` the operators that work on all tokens and those
    that work on logit positions. Prices are memoised by number of rows.
    """

    system: System
    model: Transformer
    layout: Layout
    dtypes: Dtypes
    experts: ExpertOptions
    speculation: Speculation
    sharded: Sharded
    operators: tuple[Operator, ...]
    chip: Int64Array
    attention: tuple[Int64Array, Int64Array]
    fabrics: Int64Array
    bits: Int64Array
    rows: Int64Array
    weighted: BoolArray
    sections: Int64Array
    stages: Int64Array
    pipeline: Int64Array
    of_sort: tuple[Int64Array, Int64Array]
    _known: dict[tuple[int, bool], Int64Array] = field(default_factory=dict)
    _siblings: dict[Layout, Plan] = field(default_factory=dict)

    @property
    def packed(self) -> Packed:
        """What the kernels of ``timing.batch`` take."""
        return (
            *self.attention,
            self.rows,
            self.weighted,
            self.sections,
            self.stages,
            self.pipeline,
        )

    @property
    def shards(self) -> tuple[Section, ...]:
        """One chip's sections, stage after stage."""
        return self.sharded.sections

    @property
    def tp(self) -> int:
        """Tensor parallelism of attention."""
        return self.layout.tp

    @property
    def replicas(self) -> int:
        """Copies of the layout in the system."""
        return self.system.chips // self.layout.chips

    def with_layout(self, layout: Layout) -> Plan:
        """The same model on the same system in another layout; made once for each."""
        if layout not in self._siblings:
            self._siblings[layout] = make_plan(
                self.system,
                self.model,
                layout=layout,
                dtypes=self.dtypes,
                experts=self.experts,
                speculation=self.speculation,
            )
        return self._siblings[layout]

    def memory(self, tokens: int, logits: int) -> Memory:
        """Memory of the fullest chip for batches of a replica of at most so many tokens and
        positions with logits; see ``mapping.memory.memory_of``."""
        activation_bits, kv_bits = int(self.attention[1][1]), int(self.bits[2])
        return memory_of(
            self.system,
            self.model,
            self.layout,
            weight_bits=self.dtypes.weight_bits,
            activation_bits=activation_bits,
            kv_bits=kv_bits,
            tokens=tokens,
            logits=logits,
            sharded=self.sharded,
        )

    @cached_property
    def routed(self) -> RoutedExperts:
        """The prices of its routed experts."""
        return RoutedExperts(
            self.chip,
            self.fabrics,
            self.bits,
            self.rows,
            self.layout,
            self.experts.load,
            self.model.experts,
        )

    def rows_of(self, batch: Batch) -> Rows:
        """Rows that its operators compute for a batch; see ``timing.rank_rows``."""
        tokens, logits = batch.tokens, batch.logits
        if self.layout.dp == 1 and len(self.pipeline) == PIPELINE_FIELDS:
            return tokens, tokens, logits
        ranks = batch.on_ranks(self.layout.dp)
        found: Rows = rows_of(self.pipeline, ranks, batch.new, tokens, logits)
        return found

    def padded_rows(self, sequences: int) -> int:
        """Rows that a decode iteration is padded to at most where no rank has more sequences."""
        if len(self.pipeline) == PIPELINE_FIELDS:
            return 0
        # fewer sequences may be padded where all of them are too many for any graph
        each = (sequences + self.layout.micro_batches) * (self.speculation.drafts + 1)
        return max(int(most_rows(self.pipeline, sequences)), each * self.layout.dp)

    def price_rows(self, rows: int, logits: bool, into: Int64Array) -> None:
        """Fill ``into`` (int64[operators, 2, PRICE_FIELDS]) for a number of rows of one sort.

        Raises InfeasibleError where SRAM is smaller than one tile.
        """
        known = self._known.get((rows, logits))
        if known is None:
            known = np.zeros((len(self.rows), 2, PRICE_FIELDS), dtype=np.int64)
            failed = price_rows(
                self.chip,
                self.fabrics,
                self.bits,
                self.rows,
                rows,
                logits,
                known,
            )
            if failed >= 0:
                raise InfeasibleError(
                    f"the SRAM of {self.system.chip.name} is smaller than one tile of operator "
                    f"'{self.operators[failed].name}'"
                )
            if not logits:
                self._price_experts(rows, known)
            self._known[rows, logits] = known
        into[self.of_sort[int(logits)]] = known[self.of_sort[int(logits)]]

    def price_uneven(self, rows: int, tokens: int, into: Int64Array) -> None:
        """Fill in what depends on the ``tokens`` of all ranks where they have unequal numbers.

        That is experts, and what has gathered several ranks' tokens, which are taken to be spread
        evenly. ``rows`` are as many as if each rank had those of the fullest.
        """
        whole = self.rows[:, pricing.PLAN_SPLIT] % (self.layout.dp * self.layout.micro_batches) != 0
        whole &= self.rows[:, pricing.PLAN_LOGITS] == 0
        if whole.any():
            even = np.empty_like(into)
            self.price_rows(tokens, False, even)
            into[whole] = even[whole]
        experts = self.rows[:, pricing.PLAN_KIND] == pricing.MOE
        for index in np.nonzero(experts & ~whole)[0]:
            price = into[index, COLD]
            self.routed.price(int(index), rows, self.experts.mode, True, price, tokens)

    def _price_experts(self, rows: int, into: Int64Array) -> None:
        """Fill the prices of routed experts; their kernel is compiled for models that have any."""
        for index in np.nonzero(self.rows[:, pricing.PLAN_KIND] == pricing.MOE)[0]:
            self.routed.price(int(index), rows, self.experts.mode, True, into[index, COLD])

    def price_expert(self, index: int, rows: int, mode: str, exchange: bool) -> int:
        """Picoseconds of one expert operator for a number of tokens, with its exchange over the
        fabric or as if that cost nothing."""
        price = np.zeros(PRICE_FIELDS, dtype=np.int64)
        self.routed.price(index, rows, mode, exchange, price)
        return int(price[DURATION])


def make_plan(
    system: System,
    model: Transformer,
    *,
    tp: int | None = None,
    layout: Layout | None = None,
    dtypes: Dtypes | None = None,
    experts: ExpertOptions | None = None,
    speculation: Speculation | None = None,
) -> Plan:
    """Lay a model over a system: by ``layout``, or with tensor parallelism alone.

    Raises InputError for a layout that does not fit, or a dtype without a rate.
    """
    kinds = dtypes or Dtypes()
    system = replace(system, chip=resolve_memory(system.chip))
    engine = system.engine
    if engine is not None and is_grouped(model):
        system = replace(system, chip=engine.with_attention(system.chip, kinds.kv))
    residual = None if engine is None else engine.residual
    beside = kinds.beside
    chosen = layout or choose_layout(system, model, tp=tp)
    check_layout(system, model, chosen)
    drafts = speculation or Speculation()
    sharded, operators, rows = lay_out(model, chosen, drafts.drafts)
    stored = model.quantization
    in_blocks = stored.block > 0 and stored.experts in ("fp8", "int8")
    form = expert_form(kinds.weight, kinds.activation, in_blocks)
    rows[rows[:, pricing.PLAN_KIND] == pricing.MOE, pricing.PLAN_EXPERT_FORM] = form
    return Plan(
        system=system,
        model=model,
        layout=chosen,
        dtypes=kinds,
        experts=(experts or ExpertOptions()).under(engine),
        speculation=drafts,
        sharded=sharded,
        operators=operators,
        chip=pack_chip(system.chip, kinds.activation),
        attention=(
            pack_chip(system.chip, beside.activation, cache=kinds.kv),
            beside.bits(residual),
        ),
        fabrics=pack_groups(system.fabric, sharded),
        bits=kinds.bits(residual),
        rows=rows,
        weighted=np.array([isinstance(op, Matmul) for op in operators]),
        sections=section_rows(sharded),
        stages=stage_rows(sharded),
        pipeline=np.array(
            [
                chosen.pp,
                chosen.micro_batches,
                drafts.drafts + 1,
                chosen.dp,
                *(() if engine is None else engine.graph_batches),
            ],
            dtype=np.int64,
        ),
        of_sort=(
            np.nonzero(rows[:, pricing.PLAN_LOGITS] == 0)[0],
            np.nonzero(rows[:, pricing.PLAN_LOGITS] == 1)[0],
        ),
    )
