"""A model on a system as arrays: what the kernels need to price any batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simulator.errors import InfeasibleError, InputError, did_you_mean
from simulator.fabric.groups import sized_group
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.fabric.parts import Op
from simulator.hardware import System
from simulator.kernels.chip_vector import pack_chip
from simulator.kernels.executor import PRICE_FIELDS
from simulator.mapping.memory import BITS
from simulator.mapping.tensor_parallel import check_degree, shard
from simulator.model.forward import forward_pass
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
from simulator.timing import prices as pricing
from simulator.timing.hbm import resolve_memory

Int64Array = npt.NDArray[np.int64]

COLLECTIVE_OPS: tuple[Op, ...] = ("all-reduce", "all-gather")
"""What tensor parallelism asks of the fabric."""


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


@dataclass(frozen=True)
class Plan:
    """One tensor-parallel group's work, packed for the kernels.

    ``rows`` is int64[operators, PLAN_FIELDS], ``weighted`` bool[operators], ``sections`` int64[
    sections, 3] (first operator, count, repeats), ``attention`` the index of the attention
    operator, ``of_sort`` the operators that work on all tokens and those
    that work on logit positions. Prices are memoised by number of rows.
    """

    system: System
    model: Transformer
    tp: int
    dtypes: Dtypes
    operators: tuple[Operator, ...]
    shards: tuple[Section, ...]
    chip: Int64Array
    fabric: Int64Array
    bits: Int64Array
    rows: Int64Array
    weighted: npt.NDArray[np.bool_]
    sections: Int64Array
    attention: int
    of_sort: tuple[Int64Array, Int64Array]
    _known: dict[tuple[int, bool], Int64Array] = field(default_factory=dict)

    @property
    def replicas(self) -> int:
        """Data-parallel copies of the group in the system."""
        return self.system.chips // self.tp

    def price_rows(self, rows: int, logits: bool, into: Int64Array) -> None:
        """Fill ``into`` (int64[operators, 2, PRICE_FIELDS]) for a number of rows of one sort.

        Raises InfeasibleError where SRAM is smaller than one tile.
        """
        known = self._known.get((rows, logits))
        if known is None:
            known = np.zeros((len(self.rows), 2, PRICE_FIELDS), dtype=np.int64)
            failed = pricing.price_rows(
                self.chip, self.fabric, self.bits, self.rows, rows, logits, known
            )
            if failed >= 0:
                raise InfeasibleError(
                    f"the SRAM of {self.system.chip.name} is smaller than one tile of operator "
                    f"'{self.operators[failed].name}'"
                )
            self._known[rows, logits] = known
        into[self.of_sort[int(logits)]] = known[self.of_sort[int(logits)]]


def make_plan(
    system: System, model: Transformer, *, tp: int | None = None, dtypes: Dtypes | None = None
) -> Plan:
    """Shard a model over a system.

    Raises InputError for a tensor-parallel degree that does not fit, or a dtype without a rate.
    """
    kinds = dtypes or Dtypes()
    system = replace(system, chip=resolve_memory(system.chip))
    degree = check_degree(system, model, tp)
    shards = shard(forward_pass(model), degree)
    operators = tuple(op for section in shards for op in section.operators)
    rows = np.array([_row(op, degree) for op in operators], dtype=np.int64)
    _mark_fetches(shards, rows)
    sections = []
    first = 0
    for section in shards:
        sections.append((first, len(section.operators), section.repeat))
        first += len(section.operators)
    attention = next(i for i, op in enumerate(operators) if isinstance(op, Attention))
    return Plan(
        system=system,
        model=model,
        tp=degree,
        dtypes=kinds,
        operators=operators,
        shards=shards,
        chip=pack_chip(system.chip, kinds.activation),
        fabric=pack_fabric(sized_group(system.fabric, degree), COLLECTIVE_OPS),
        bits=kinds.bits(),
        rows=rows,
        weighted=np.array([isinstance(op, Matmul) for op in operators]),
        sections=np.array(sections, dtype=np.int64),
        attention=attention,
        of_sort=(
            np.nonzero(rows[:, pricing.PLAN_LOGITS] == 0)[0],
            np.nonzero(rows[:, pricing.PLAN_LOGITS] == 1)[0],
        ),
    )


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
                elif isinstance(op, Attention | Collective):
                    idle = True
        first += len(section.operators)


def _row(op: Operator, ranks: int) -> list[int]:
    row = [0] * pricing.PLAN_FIELDS
    if isinstance(op, LatentAttention | MoE) or (isinstance(op, Attention) and op.window):
        raise InputError(
            f"operator '{op.name}' has no price yet",
            hint="steps run models of dense layers with grouped-query attention",
        )
    if isinstance(op, Attention):
        row[pricing.PLAN_KIND] = pricing.ATTENTION
        row[pricing.PLAN_HEADS] = op.heads
        row[pricing.PLAN_KV_HEADS] = op.kv_heads
        row[pricing.PLAN_HEAD_DIM] = op.head_dim
        return row
    row[pricing.PLAN_LOGITS] = int(op.rows == "logits")
    if isinstance(op, Matmul):
        row[pricing.PLAN_KIND] = pricing.MATMUL
        row[pricing.PLAN_K], row[pricing.PLAN_N] = op.k, op.n
        row[pricing.PLAN_STORED] = op.stored_n
    elif isinstance(op, Elementwise):
        row[pricing.PLAN_KIND] = pricing.ELEMENTWISE
        row[pricing.PLAN_OPS] = op.ops
        row[pricing.PLAN_READ], row[pricing.PLAN_WRITTEN] = op.read, op.written
        row[pricing.PLAN_FUSED] = int(op.fused)
    elif isinstance(op, Gather):
        row[pricing.PLAN_KIND] = pricing.GATHER
        row[pricing.PLAN_READ] = row[pricing.PLAN_WRITTEN] = op.width
    elif isinstance(op, Collective):
        row[pricing.PLAN_KIND] = pricing.COLLECTIVE
        row[pricing.PLAN_COLLECTIVE] = OP_INDEX[op.op]
        row[pricing.PLAN_RANKS] = ranks
        row[pricing.PLAN_PASSES] = 2 if op.op == "all-reduce" else 1
        row[pricing.PLAN_WIDTH] = op.width
    return row
