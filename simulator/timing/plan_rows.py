"""The operators of a layout as int64 rows, and its groups of ranks as packed fabrics."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from simulator.fabric.groups import strided_group
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.fabric.parts import Op
from simulator.fabric.peer import engine_limits, host_chips
from simulator.hardware import System
from simulator.hardware.fabric import Fabric
from simulator.kernels.arrays import Int64Array
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

COLLECTIVE_OPS: tuple[Op, ...] = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "p2p")
"""What layouts ask of the fabric."""


@lru_cache(maxsize=512)
def lay_out(
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


def section_rows(sharded: Sharded) -> Int64Array:
    """The sections, int64[sections, 3]: first operator, operators, how often it repeats."""
    rows = []
    first = 0
    for section in sharded.sections:
        rows.append((first, len(section.operators), section.repeat))
        first += len(section.operators)
    return np.array(rows, dtype=np.int64)


def stage_rows(sharded: Sharded) -> Int64Array:
    """The kinds of pipeline stages, int64[kinds, STAGE_FIELDS] of ``timing.batch``."""
    rows = np.zeros((len(sharded.stages), batches.STAGE_FIELDS), dtype=np.int64)
    first = 0
    for row, stage in zip(rows, sharded.stages, strict=True):
        row[batches.STAGE_FIRST] = first
        row[batches.STAGE_SECTIONS] = len(stage.sections)
        row[batches.STAGE_COUNT] = stage.count
        first += len(stage.sections)
    return rows


def pack_groups(fabric: Fabric, sharded: Sharded) -> Int64Array:
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


def engine_notes(system: System, sharded: Sharded) -> tuple[str, ...]:
    """What to say where the serving engine's all-reduce kernels do not reach a group of ranks."""
    engine = system.engine
    usual = system.fabric.engine
    if engine is not None and engine.all_reduce is not None:
        name = engine.name
    elif usual is not None:
        name = usual.name
    else:
        return ()
    host = host_chips(system.fabric)
    reduced = {op.group for op in _collectives(sharded) if op.op == "all-reduce"}
    alone = sorted(
        ranks
        for group, (ranks, apart) in sharded.groups.items()
        if group in reduced
        and ranks > 1
        and not engine_limits(strided_group(system.fabric, ranks, apart), "all-reduce")
    )
    return tuple(
        f"{name} has no all-reduce kernels for {ranks} chips of this fabric"
        + (f", only within a host of {host}" if ranks > host else "")
        + ": those of the collective library are used"
        for ranks in dict.fromkeys(alone)
    )


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
