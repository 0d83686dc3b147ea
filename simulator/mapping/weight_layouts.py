"""Weights cut along both dimensions, and weights gathered before use (Pope et al., arXiv
2211.05102, sections 3.2.2 and 3.2.3).

In the two-dimensional layout the chips form a grid of X x YZ. A matrix of E x F lies in blocks of
E/X x F/YZ; the residual stream is cut over all chips, gathered along YZ before the first matmul and
scattered along it after the second, and the hidden activations are scattered and gathered along X
in between. Parallel blocks use fused input and output matrices (section 3.4). Attention is cut by
heads or, after an all-to-all, by sequences (section 3.3).
"""

from __future__ import annotations

from dataclasses import replace

from simulator.errors import InputError
from simulator.model.layout import Layout
from simulator.model.operators import (
    Attention,
    Collective,
    CollectiveOp,
    Elementwise,
    Gather,
    Matmul,
    Operator,
    Rows,
    Section,
)

STATISTICS = 2
"""Elements a row of a norm's sums over the cut hidden dimension, in fp32 as two of 16 bits each."""


def shrunk(op: Elementwise, ways: int) -> Elementwise:
    """One of ``ways`` shares of an elementwise operator; the widest sets the pace."""
    return replace(
        op, ops=-(-op.ops // ways), read=-(-op.read // ways), written=-(-op.written // ways)
    )


def gathered_section(section: Section, chips: int) -> Section:
    """Every chip has whole sequences; each matrix is gathered behind the matmuls before it."""
    out: list[Operator] = []
    for op in section.operators:
        if isinstance(op, Matmul) and chips > 1:
            out.append(
                Collective(
                    f"{op.name}_weights",
                    "all-gather",
                    0,
                    op.rows,
                    "stage",
                    weights=op.k * op.n,
                    background=True,
                )
            )
        out.append(replace(op, split=chips))
    return replace(section, operators=tuple(out))


def grid_section(section: Section, hidden: int, layout: Layout) -> Section:
    """One chip's share of a section with two-dimensional weights."""
    grid = _Grid(hidden, layout)
    operators = list(section.operators)
    if any(isinstance(op, Matmul) and op.partial for op in operators):
        operators = _fuse_parallel(operators)
    for op in operators:
        grid.place(op)
    return replace(section, operators=tuple(grid.out))


def _fuse_parallel(operators: list[Operator]) -> list[Operator]:
    """Joint input and output matrices of a parallel block, around its attention."""
    matmuls = [op for op in operators if isinstance(op, Matmul)]
    first = [op for op in matmuls if op.shard == "columns"]
    last = [op for op in matmuls if op.shard == "rows"]
    others = [op for op in operators if not isinstance(op, Matmul)]
    into = Matmul(
        "_".join(op.name for op in first),
        first[0].k,
        sum(op.n for op in first),
        sum(op.stored_n for op in first),
        "columns",
    )
    out = Matmul(
        "_".join(op.name for op in last), sum(op.k for op in last), last[0].n, last[0].n, "rows"
    )
    return [others[0], into, *others[1:], out]


class _Grid:
    """Goes through a section's operators with the residual stream cut over all chips."""

    def __init__(self, hidden: int, layout: Layout) -> None:
        self.hidden = hidden
        self.x = layout.grid_x
        self.yz = layout.stage // layout.grid_x
        self.chips = layout.stage
        self.layout = layout
        self.out: list[Operator] = []

    def place(self, op: Operator) -> None:
        """Append one chip's share of an operator with the collectives that it needs."""
        if isinstance(op, Matmul):
            self._matmul(op)
        elif isinstance(op, Attention):
            self._attention(op)
        elif isinstance(op, Elementwise):
            self._elementwise(op)
        elif isinstance(op, Gather):
            # every chip looks up its part of the hidden dimension
            self.out.append(replace(op, width=-(-op.width // self.chips)))
        else:
            raise InputError(f"operator '{op.name}' cannot be cut in two dimensions")

    def _elementwise(self, op: Elementwise) -> None:
        self.out.append(shrunk(op, self.chips))
        if not op.sharded and self.chips > 1:
            self._move(f"{op.name}_sums", "all-reduce", STATISTICS, "stage", op.rows)
            width = -(-self.hidden // self.x)
            self._move(f"{op.name}_gather", "all-gather", width, "grid-yz", op.rows)

    def _matmul(self, op: Matmul) -> None:
        if op.shard == "rows":
            k, n = -(-op.k // self.yz), -(-op.n // self.x)
            self._move(f"{op.name}_hidden", "all-gather", k, "grid-x", op.rows)
            self.out.append(replace(op, k=k, n=n, stored_n=n))
            self._move(f"{op.name}_scatter", "reduce-scatter", n, "grid-yz", op.rows)
            return
        k, n = -(-op.k // self.x), -(-op.n // self.yz)
        # partial sums leave the unit before the gate, hence all n columns
        self.out.append(replace(op, k=k, n=n, stored_n=n))
        self._move(f"{op.name}_scatter", "reduce-scatter", n, "grid-x", op.rows)
        if op.rows == "logits":
            self._move(f"{op.name}_gather", "all-gather", op.n, "stage", op.rows)

    def _attention(self, op: Attention) -> None:
        by_sequence = self.layout.dp > 1
        queries, keys = op.heads * op.head_dim, 2 * op.kv_heads * op.head_dim
        if by_sequence:
            width = -(-(queries + keys) // self.chips)
            self._move(f"{op.name}_to_sequences", "all-to-all", width, "stage")
            self.out.append(replace(op, split=self.chips))
            width = -(-queries // self.chips)
            self._move(f"{op.name}_to_heads", "all-to-all", width, "stage")
            return
        kv_heads = max(1, -(-op.kv_heads // self.chips))
        if op.kv_heads < self.chips:
            self._move(f"{op.name}_keys", "all-gather", keys, "stage")
        self.out.append(replace(op, heads=-(-op.heads // self.chips), kv_heads=kv_heads))

    def _move(
        self, name: str, op: CollectiveOp, width: int, group: str, rows: Rows = "tokens"
    ) -> None:
        ranks = {"grid-x": self.x, "grid-yz": self.yz, "stage": self.chips}[group]
        if ranks > 1:
            self.out.append(Collective(name, op, width, rows, group))
