"""The executed operators of a step, as reports show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from simulator.kernels import executor
from simulator.kernels.latent_attention import absorbed_flops, expanded_flops
from simulator.model.operators import (
    Attention,
    Collective,
    Elementwise,
    Gather,
    LatentAttention,
    Matmul,
    MoE,
    Operator,
)
from simulator.timing.batch import share_of
from simulator.timing.plan import Plan
from simulator.timing.prices import RESIDUAL_BITS, WEIGHT_BITS
from simulator.timing.results import CAUSES, CollectiveShare, OperatorSpan
from simulator.timing.sequences import Batch

Int64Array = npt.NDArray[np.int64]

_KINDS: dict[type, str] = {
    Matmul: "matmul",
    Elementwise: "vector",
    Gather: "gather",
    Attention: "attention",
    LatentAttention: "attention",
    MoE: "moe",
}


class OperatorSpans(Sequence[OperatorSpan]):
    """The spans of a step; built when somebody looks at them, since most callers want the time."""

    def __init__(self, plan: Plan, batch: Batch, prices: Int64Array, spans: Int64Array) -> None:
        self._arguments = (plan, batch, prices, spans)

    @cached_property
    def _built(self) -> tuple[OperatorSpan, ...]:
        return tuple(_spans(*self._arguments))

    def __len__(self) -> int:
        return len(self._arguments[3])

    @overload
    def __getitem__(self, index: int) -> OperatorSpan: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[OperatorSpan]: ...
    def __getitem__(self, index: int | slice) -> OperatorSpan | Sequence[OperatorSpan]:
        """One span, or several."""
        return self._built[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def operator_spans(
    plan: Plan, batch: Batch, prices: Int64Array, spans: Int64Array
) -> Sequence[OperatorSpan]:
    """One ``OperatorSpan`` for each row of ``spans`` (int64[executed, SPAN_FIELDS])."""
    return OperatorSpans(plan, batch, prices, spans)


def collective_rows(
    plan: Plan, batch: Batch, prices: Int64Array, spans: Int64Array
) -> tuple[CollectiveShare, ...]:
    """What moves over the fabric in a step, one row a name, in the order of execution.

    An expert operator's dispatch and combine are two of them; what of them it could not hide is
    the part of its time in which no other unit was busy.
    """
    rows: dict[tuple[str, str, int, int], CollectiveShare] = {}
    lengths = np.bincount(
        spans[:, executor.SPAN_OPERATOR],
        weights=(spans[:, executor.SPAN_END] - spans[:, executor.SPAN_START]).astype(np.float64),
        minlength=len(plan.operators),
    )
    counts = np.bincount(spans[:, executor.SPAN_OPERATOR], minlength=len(plan.operators))
    groups = plan.sharded.groups
    for index, op in enumerate(plan.operators):
        count = int(counts[index])
        price = prices[index, executor.COLD]
        if count == 0 or price[executor.FABRIC] == 0:
            continue
        if isinstance(op, Collective):
            size = _buffer_bytes(plan, op, batch)
            whole = int(price[executor.DURATION]) * count
            ranks = groups[op.group][0]
            left = int(lengths[index])
            _add(rows, CollectiveShare(op.name, op.op, size, ranks, count, whole, left))
        elif isinstance(op, MoE):
            for row in _exchanges(plan, index, batch, count):
                _add(rows, row)
    return tuple(rows.values())


def _add(rows: dict[tuple[str, str, int, int], CollectiveShare], row: CollectiveShare) -> None:
    """The same collective in several stacks of layers is one row."""
    key = (row.name, row.op, row.size_bytes, row.ranks)
    known = rows.get(key)
    if known is not None:
        row = replace(
            row,
            count=row.count + known.count,
            time_ps=row.time_ps + known.time_ps,
            exposed_ps=row.exposed_ps + known.exposed_ps,
        )
    rows[key] = row


def _exchanges(plan: Plan, index: int, batch: Batch, count: int) -> Iterator[CollectiveShare]:
    """Dispatch and combine of an expert operator.

    Each takes what it takes by itself; exposed is by how much the operator would be shorter over a
    fabric that costs nothing, half of it on either way.
    """
    op = plan.operators[index]
    assert isinstance(op, MoE)
    rows, _, _ = plan.rows_of(batch)
    with_it, without = (plan.price_expert(index, rows, "sorted", x) for x in (True, False))
    whole = 2 * ((with_it - without) // 2) * count
    chosen = plan.experts.mode
    with_it, without = (plan.price_expert(index, rows, chosen, x) for x in (True, False))
    exposed = min(whole, (with_it - without) * count)
    size = _rows(plan, op, batch) * op.top_k * op.hidden * int(plan.bits[RESIDUAL_BITS]) // 8
    for part, name in enumerate(("dispatch", "combine")):
        yield CollectiveShare(
            f"{op.name}.{name}",
            "all-to-all",
            size,
            op.ranks,
            count,
            whole // 2,
            exposed * (part + 1) // 2 - exposed * part // 2,
        )


def _buffer_bytes(plan: Plan, op: Collective, batch: Batch) -> int:
    weight_bits, residual_bits = int(plan.bits[WEIGHT_BITS]), int(plan.bits[RESIDUAL_BITS])
    if op.weights:
        return -(-op.weights * weight_bits // 8)
    return -(-_rows(plan, op, batch) * op.width * residual_bits // 8)


def _spans(
    plan: Plan, batch: Batch, prices: Int64Array, spans: Int64Array
) -> Iterator[OperatorSpan]:
    names = [(section.name, op) for section in plan.shards for op in section.operators]
    known: dict[int, tuple[str, str, int]] = {}
    for row in spans.tolist():
        index, repeat, start, end, variant, fetch_start, fetched = row
        prefix, op = names[index]
        if index not in known:
            known[index] = (_kind(op), _detail(plan, op, batch), _flops(plan, op, batch))
        kind, detail, flops = known[index]
        price = prices[index, variant].tolist()
        busy = price[executor.MATRIX : executor.MATRIX + 5]
        busy[2] -= fetched
        whole = max(1, int(prices[index, executor.WARM, executor.FETCH]))
        fetch_bytes = int(prices[index, executor.WARM, executor.FETCH_BYTES])
        yield OperatorSpan(
            name=f"{prefix}{repeat}.{op.name}" if prefix else op.name,
            kind=kind,
            detail=detail,
            start_ps=start,
            end_ps=end,
            busy_ps=tuple(min(max(0, b), end - start) for b in busy),
            bound_by=CAUSES[price[executor.CAUSE]],
            flops=flops,
            hbm_read_bytes=price[executor.READ],
            hbm_write_bytes=price[executor.WRITE],
            fabric_bytes=price[executor.SENT],
            fetch_bytes=fetch_bytes * fetched // whole,
            fetch_start_ps=fetch_start,
            fetch_ps=fetched,
        )


def _rows(plan: Plan, op: Any, batch: Batch) -> int:
    """Rows of the fullest rank and micro-batch."""
    together, tokens, logits = plan.rows_of(batch)
    if getattr(op, "rows", "tokens") == "logits":
        together = logits
    elif op.split % (plan.layout.dp * plan.layout.micro_batches):
        together = tokens
    return -(-together // int(op.split))


def _kind(op: Operator) -> str:
    return op.op if isinstance(op, Collective) else _KINDS[type(op)]


def _own(plan: Plan, op: Attention | LatentAttention, batch: Batch) -> Batch:
    """The sequences of the fullest rank, as attention is priced for it."""
    new, past = np.empty_like(batch.new), np.empty_like(batch.past)
    held = plan.layout.dp
    shape = (op.split, held, op.context)
    count = share_of(shape, batch.on_ranks(held), batch.new, batch.past, new, past)
    return Batch(new[:count], past[:count], 0)


def _detail(plan: Plan, op: Operator, batch: Batch) -> str:
    if isinstance(op, Matmul):
        return f"{_rows(plan, op, batch)}x{op.k}x{op.n}"
    if isinstance(op, Attention):
        count = len(_own(plan, op, batch).new)
        return f"{count} sequences, {op.heads} heads, {op.kv_heads} KV heads"
    if isinstance(op, LatentAttention):
        return f"{len(_own(plan, op, batch).new)} sequences, {op.heads} heads, latent {op.kv_rank}"
    if isinstance(op, MoE):
        own = -(-op.experts // op.ranks)
        return f"{_rows(plan, op, batch)} rows x top {op.top_k}, {own} experts of {op.intermediate}"
    if isinstance(op, Collective) and op.weights:
        return f"{op.weights} weights"
    if isinstance(op, Collective | Gather):
        return f"{_rows(plan, op, batch)}x{op.width}"
    return f"{_rows(plan, op, batch)} rows"


def _flops(plan: Plan, op: Operator, batch: Batch) -> int:
    if isinstance(op, Matmul):
        return 2 * _rows(plan, op, batch) * op.k * op.n
    if isinstance(op, Attention):
        return 4 * op.heads * op.head_dim * _own(plan, op, batch).window_pairs(op.window)
    if isinstance(op, LatentAttention):
        own = _own(plan, op, batch)
        dims = (op.heads, op.kv_rank, op.rope_dim, op.nope_dim, op.v_dim)
        pairs = zip(own.new.tolist(), own.past.tolist(), strict=True)
        return sum(_latent_flops(new, past, dims) for new, past in pairs)
    if isinstance(op, MoE):
        assignments = _rows(plan, op, batch) * op.top_k
        return 2 * assignments * op.hidden * op.intermediate * (3 if op.gated else 2)
    return 0


def _latent_flops(new: int, past: int, dims: tuple[int, int, int, int, int]) -> int:
    absorbed = absorbed_flops(new, past, dims)
    return int(absorbed if new == 1 else min(absorbed, expanded_flops(new, past, dims)))
