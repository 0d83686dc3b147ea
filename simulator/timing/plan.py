"""A model on a system as arrays: what the kernels need to price any batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from simulator.errors import InfeasibleError, InputError, did_you_mean
from simulator.fabric.groups import strided_group
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.fabric.parts import Op
from simulator.hardware import System
from simulator.hardware.fabric import Fabric
from simulator.kernels.arrays import Float64Array
from simulator.kernels.chip_vector import pack_chip
from simulator.kernels.executor import COLD, DURATION, PRICE_FIELDS
from simulator.mapping.layout import check_layout, choose_layout
from simulator.mapping.memory import BITS, Memory, memory_of
from simulator.mapping.shard import Sharded, shard
from simulator.model.layout import Layout
from simulator.model.operators import (
    Attention,
    Collective,
    Elementwise,
    Gather,
    LatentAttention,
    Matmul,
    MoE,
    Operator,
    Section,
)
from simulator.model.transformer import Transformer
from simulator.timing import batch as batches
from simulator.timing import prices as pricing
from simulator.timing.batch import Packed
from simulator.timing.expert_load import histogram, parse_expert_load
from simulator.timing.hbm import resolve_memory
from simulator.timing.moe_prices import MODE_FUSED, MODE_SORTED, price_moe
from simulator.timing.rows import price_rows

Int64Array = npt.NDArray[np.int64]

COLLECTIVE_OPS: tuple[Op, ...] = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "p2p")
"""What layouts ask of the fabric."""

MOE_MODES = {"sorted": MODE_SORTED, "fused": MODE_FUSED}
"""Ways to run routed experts; see ``timing.moe_prices``."""


@dataclass(frozen=True, slots=True)
class Dtypes:
    """Data types of weights, activations (which set the arithmetic rate) and the KV cache."""

    weight: str = "bf16"
    activation: str = "bf16"
    kv: str = "bf16"

    def __post_init__(self) -> None:
        for name in (self.weight, self.activation, self.kv):
            if name not in BITS:
                raise InputError(f"unknown dtype '{name}'", hint=did_you_mean(name, BITS))

    def bits(self) -> Int64Array:
        """Bits of (weight, activation, kv) elements."""
        return np.array([BITS[self.weight], BITS[self.activation], BITS[self.kv]], dtype=np.int64)

    def as_dict(self) -> dict[str, str]:
        """The names, for reports."""
        return {"weight": self.weight, "activation": self.activation, "kv": self.kv}


@dataclass(frozen=True, slots=True)
class Speculation:
    """``drafts`` tokens are proposed for each sequence and verified in one pass, and each is
    accepted with probability ``acceptance`` if those before it are."""

    drafts: int = 0
    acceptance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drafts <= 64:
            raise InputError(f"speculation: found {self.drafts} drafts, expected 0 to 64")
        if not 0 <= self.acceptance <= 1:
            raise InputError(f"speculation: found acceptance {self.acceptance:g}, expected 0 to 1")

    @property
    def tokens(self) -> float:
        """Expected tokens of an iteration: (1 - a^(K+1)) / (1 - a), Leviathan et al., arXiv
        2211.17192, eq. 1."""
        if self.acceptance == 1:
            return self.drafts + 1.0
        return (1 - self.acceptance ** (self.drafts + 1)) / (1 - self.acceptance)


@dataclass(frozen=True, slots=True)
class ExpertOptions:
    """Routed experts: ``mode`` sorted or fused, ``load`` balanced, power:ALPHA or a file."""

    mode: str = "sorted"
    load: str = "balanced"

    def __post_init__(self) -> None:
        if self.mode not in MOE_MODES:
            hint = did_you_mean(self.mode, MOE_MODES)
            raise InputError(
                f"--moe: found '{self.mode[:40]}', expected sorted or fused", hint=hint
            )


@dataclass(frozen=True)
class Plan:
    """One replica's work, packed for the kernels.

    ``rows`` is int64[operators, PLAN_FIELDS], ``weighted`` bool[operators], ``sections`` int64[
    sections, 3] (first operator, count, repeats), ``stages`` int64[kinds, STAGE_FIELDS] and
    ``pipeline`` int64[PIPELINE_FIELDS] of ``timing.batch``, ``fabrics`` int64[groups, fields] (each
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
    fabrics: Int64Array
    bits: Int64Array
    rows: Int64Array
    weighted: npt.NDArray[np.bool_]
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
            self.chip,
            self.bits,
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
        weight_bits, activation_bits, kv_bits = (int(b) for b in self.bits)
        return memory_of(
            self.system,
            self.model,
            self.layout,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            kv_bits=kv_bits,
            tokens=tokens,
            logits=logits,
            sharded=self.sharded,
        )

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

    def _price_experts(self, rows: int, into: Int64Array) -> None:
        """Fill the prices of routed experts; their kernel is compiled for models that have any."""
        for index in np.nonzero(self.rows[:, pricing.PLAN_KIND] == pricing.MOE)[0]:
            self._price_expert(int(index), rows, self.experts.mode, True, into[index, COLD])

    def price_expert(self, index: int, rows: int, mode: str, exchange: bool) -> int:
        """Picoseconds of one expert operator for a number of tokens, with its exchange over the
        fabric or as if that cost nothing."""
        price = np.zeros(PRICE_FIELDS, dtype=np.int64)
        self._price_expert(index, rows, mode, exchange, price)
        return int(price[DURATION])

    def _price_expert(
        self, index: int, rows: int, mode: str, exchange: bool, into: Int64Array
    ) -> None:
        row = self.rows[index]
        table = self.fabrics[row[pricing.PLAN_GROUP]]
        price_moe(
            self.chip,
            table if exchange else np.zeros_like(table),
            self.bits,
            row,
            -(-rows // int(row[pricing.PLAN_SPLIT])),
            self._expert_load(rows),
            MOE_MODES[mode],
            into,
        )

    def _expert_load(self, rows: int) -> Float64Array:
        """Shares of the busiest rank's experts; a single one where the model has none."""
        experts = self.model.experts
        if experts is None:
            return np.ones(1)
        # of the group of expert ranks, which is one of several where there are ffn_dp
        tokens = -(-rows // (self.layout.ffn_dp * self.layout.micro_batches))
        if self.experts.load == "balanced":
            tokens = 0
        return _load(
            self.experts.load,
            experts.experts,
            self.layout.redundant_experts,
            self.layout.ep,
            tokens,
            experts.top_k,
        )


@lru_cache(maxsize=4096)
def _load(
    text: str, experts: int, copies: int, ranks: int, tokens: int, top_k: int
) -> Float64Array:
    """Shares of the busiest rank; the busiest experts have copies that take half of their load."""
    if not copies or text == "balanced":
        return parse_expert_load(text, experts + copies, ranks, max(1, tokens), top_k)
    loads = np.sort(parse_expert_load(text, experts, 1, max(1, tokens), top_k))[::-1]
    halves = loads[:copies] / 2
    return histogram(np.concatenate([halves, halves, loads[copies:]]), ranks, shuffled=True)


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
    chosen = layout or choose_layout(system, model, tp=tp)
    check_layout(system, model, chosen)
    drafts = speculation or Speculation()
    sharded, operators, rows = _laid(model, chosen, drafts.drafts)
    return Plan(
        system=system,
        model=model,
        layout=chosen,
        dtypes=kinds,
        experts=experts or ExpertOptions(),
        speculation=drafts,
        sharded=sharded,
        operators=operators,
        chip=pack_chip(system.chip, kinds.activation),
        fabrics=_pack_groups(system.fabric, sharded),
        bits=kinds.bits(),
        rows=rows,
        weighted=np.array([isinstance(op, Matmul) for op in operators]),
        sections=_section_rows(sharded),
        stages=_stage_rows(sharded),
        pipeline=np.array([chosen.pp, chosen.micro_batches, drafts.drafts + 1], dtype=np.int64),
        of_sort=(
            np.nonzero(rows[:, pricing.PLAN_LOGITS] == 0)[0],
            np.nonzero(rows[:, pricing.PLAN_LOGITS] == 1)[0],
        ),
    )


@lru_cache(maxsize=512)
def _laid(
    model: Transformer, layout: Layout, drafts: int
) -> tuple[Sharded, tuple[Operator, ...], Int64Array]:
    """The shards of a layout, their operators, and those as rows of a plan."""
    sharded = shard(model, layout, drafts)
    operators = tuple(op for section in sharded.sections for op in section.operators)
    names = list(sharded.groups)
    rows = np.array([_row(op, sharded, names) for op in operators], dtype=np.int64)
    for stage, first in zip(sharded.stages, _first_operators(sharded), strict=True):
        _mark_fetches(stage.sections, rows[first:])
    return sharded, operators, rows


def _first_operators(sharded: Sharded) -> list[int]:
    """Where the operators of each stage begin."""
    firsts = []
    first = 0
    for stage in sharded.stages:
        firsts.append(first)
        first += sum(len(section.operators) for section in stage.sections)
    return firsts


def _section_rows(sharded: Sharded) -> Int64Array:
    rows = []
    first = 0
    for section in sharded.sections:
        rows.append((first, len(section.operators), section.repeat))
        first += len(section.operators)
    return np.array(rows, dtype=np.int64)


def _stage_rows(sharded: Sharded) -> Int64Array:
    rows = np.zeros((len(sharded.stages), batches.STAGE_FIELDS), dtype=np.int64)
    first = 0
    for row, stage in zip(rows, sharded.stages, strict=True):
        row[batches.STAGE_FIRST] = first
        row[batches.STAGE_SECTIONS] = len(stage.sections)
        row[batches.STAGE_COUNT] = stage.count
        first += len(stage.sections)
    return rows


def _pack_groups(fabric: Fabric, sharded: Sharded) -> Int64Array:
    """The packed fabric of every group, int64[groups, fields]; unused groups are empty."""
    used = {op.group for op in _collectives(sharded)}
    if any(isinstance(op, MoE) for s in sharded.sections for op in s.operators):
        used.add("expert")
    tables = []
    for name, (ranks, apart) in sharded.groups.items():
        one = ranks == 1 or name not in used
        tables.append(_pack_group(fabric, 1 if one else ranks, 1 if one else apart))
    packed = np.zeros((len(tables), max(len(table) for table in tables)), dtype=np.int64)
    for row, table in zip(packed, tables, strict=True):
        row[: len(table)] = table
    return packed


def _collectives(sharded: Sharded) -> list[Collective]:
    return [op for s in sharded.sections for op in s.operators if isinstance(op, Collective)]


@lru_cache(maxsize=512)
def _pack_group(fabric: Fabric, ranks: int, apart: int) -> Int64Array:
    return pack_fabric(strided_group(fabric, ranks, apart), COLLECTIVE_OPS)


def _mark_fetches(sections: tuple[Section, ...], rows: Int64Array) -> None:
    """Weights are fetched ahead across attention and collectives; elsewhere HBM has no time."""
    idle = False
    first = 0
    for section in sections:
        # Twice round a section that repeats, for what its end leaves to its beginning.
        for _ in range(min(section.repeat, 2)):
            for index, op in enumerate(section.operators, start=first):
                if isinstance(op, Matmul):
                    rows[index, pricing.PLAN_FETCH] |= int(idle)
                    idle = False
                elif isinstance(op, Attention | LatentAttention | Collective | MoE):
                    idle = not (isinstance(op, Collective) and op.background)
        first += len(section.operators)


def _row(op: Operator, sharded: Sharded, names: list[str]) -> list[int]:
    row = [0] * pricing.PLAN_FIELDS
    row[pricing.PLAN_SPLIT] = op.split
    row[pricing.PLAN_CONTEXT] = 1
    if isinstance(op, Attention):
        row[pricing.PLAN_KIND] = pricing.ATTENTION
        row[pricing.PLAN_HEADS] = op.heads
        row[pricing.PLAN_KV_HEADS] = op.kv_heads
        row[pricing.PLAN_HEAD_DIM] = op.head_dim
        row[pricing.PLAN_WINDOW] = op.window or 0
        row[pricing.PLAN_CONTEXT] = op.context
        return row
    if isinstance(op, LatentAttention):
        row[pricing.PLAN_KIND] = pricing.LATENT
        row[pricing.PLAN_HEADS] = op.heads
        row[pricing.PLAN_KV_RANK] = op.kv_rank
        row[pricing.PLAN_ROPE_DIM] = op.rope_dim
        row[pricing.PLAN_NOPE_DIM] = op.nope_dim
        row[pricing.PLAN_VALUE_DIM] = op.v_dim
        row[pricing.PLAN_CONTEXT] = op.context
        return row
    row[pricing.PLAN_LOGITS] = int(op.rows == "logits")
    if isinstance(op, Matmul):
        row[pricing.PLAN_KIND] = pricing.MATMUL
        row[pricing.PLAN_K], row[pricing.PLAN_N] = op.k, op.n
        row[pricing.PLAN_STORED] = op.stored_n
    elif isinstance(op, MoE):
        row[pricing.PLAN_KIND] = pricing.MOE
        row[pricing.PLAN_K], row[pricing.PLAN_N] = op.hidden, op.intermediate
        row[pricing.PLAN_EXPERTS], row[pricing.PLAN_TOP_K] = op.experts, op.top_k
        row[pricing.PLAN_GATED] = int(op.gated)
        row[pricing.PLAN_RANKS] = op.ranks
        row[pricing.PLAN_GROUP] = names.index("expert")
    elif isinstance(op, Elementwise):
        row[pricing.PLAN_KIND] = pricing.ELEMENTWISE
        row[pricing.PLAN_OPS] = op.ops
        row[pricing.PLAN_READ], row[pricing.PLAN_WRITTEN] = op.read, op.written
        row[pricing.PLAN_FUSED] = int(op.fused)
    elif isinstance(op, Gather):
        row[pricing.PLAN_KIND] = pricing.GATHER
        row[pricing.PLAN_READ] = row[pricing.PLAN_WRITTEN] = op.width
    else:
        row[pricing.PLAN_KIND] = pricing.COLLECTIVE
        row[pricing.PLAN_COLLECTIVE] = OP_INDEX[op.op]
        row[pricing.PLAN_GROUP] = names.index(op.group)
        row[pricing.PLAN_RANKS] = sharded.groups[op.group][0]
        row[pricing.PLAN_PASSES] = 2 if op.op == "all-reduce" else 1
        row[pricing.PLAN_WIDTH] = op.width
        row[pricing.PLAN_WEIGHTS] = op.weights
        row[pricing.PLAN_BACKGROUND] = int(op.background)
    return row
