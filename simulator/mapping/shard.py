"""One chip's share of a forward pass under a layout, and the collectives between the parts.

With one-dimensional weights this is Megatron-LM's tensor parallelism (Shoeybi et al., arXiv
1909.08053, section 3): columns of QKV, gate and up, rows of the output and down projections, an
all-reduce after each of the latter. Where attention and feed-forward networks share the tokens
differently, the reduction turns into a reduce-scatter, or a gather and a reduce-scatter come
around the network; experts get their tokens by an all-to-all that belongs to their operator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from simulator.errors import InputError
from simulator.mapping.layout import padded
from simulator.mapping.stages import Stage, cut_stages
from simulator.mapping.weight_layouts import gathered_section, grid_section, shrunk
from simulator.model.forward import draft_pass, forward_pass
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

Groups = dict[str, tuple[int, int]]
"""Of each group of ranks: how many, and how many ranks apart they lie."""


@dataclass(frozen=True, slots=True)
class Sharded:
    """``stages`` that differ, with how many there are of each, and the groups of ranks."""

    stages: tuple[Stage, ...]
    groups: Groups

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of all stages, one after another."""
        return tuple(section for stage in self.stages for section in stage.sections)


@lru_cache(maxsize=4096)
def shard(model: Transformer, layout: Layout, draft: int = 0) -> Sharded:
    """One chip's share of a forward pass; ``draft`` tokens are drafted by the model's own modules.

    A draft works on one token a sequence, where the pass itself verifies ``draft`` + 1.
    """
    model = padded(model, layout)
    if layout.weights == "stationary-2d":
        sections = tuple(grid_section(s, model.hidden, layout) for s in forward_pass(model))
    elif layout.weights == "gathered":
        sections = tuple(gathered_section(s, layout.stage) for s in forward_pass(model))
    else:
        sections = tuple(_section(s, model, layout) for s in forward_pass(model))
        if draft and model.mtp_layers:
            drafts = [_section(s, model, layout) for s in draft_pass(model)]
            sections += tuple(_draft(section, draft) for section in drafts)
    return Sharded(cut_stages(model, layout, sections), groups_of(layout))


def groups_of(layout: Layout) -> Groups:
    """The groups of ranks that a layout's collectives span."""
    x = layout.grid_x
    heads, shards = layout.tp, layout.token_shards
    return {
        "tensor": (heads, 1),
        "context": (layout.sp, heads),
        "data": (shards, heads),
        "gather": (max(1, shards // layout.ffn_shards), heads),
        "ffn-tensor": (layout.ffn_tp, 1),
        "expert": (layout.ep, layout.ffn_tp),
        "cut": (max(1, layout.ffn_shards // shards), layout.ffn_tp),
        "grid-x": (x, 1),
        "grid-yz": (layout.stage // x, x),
        "stage": (layout.stage, 1),
        "pipeline": (layout.pp, layout.stage),
    }


def _draft(section: Section, drafts: int) -> Section:
    """A section of one draft, as often as tokens are drafted, on one token of each sequence."""
    operators = []
    for op in section.operators:
        split = op.split if isinstance(op, Attention | LatentAttention) else op.split * (drafts + 1)
        operators.append(replace(op, split=split))
    return Section("draft" if section.name else "draft_head", drafts, tuple(operators))


def _section(section: Section, model: Transformer, layout: Layout) -> Section:
    walk = _Walk(model.hidden, layout)
    for op in section.operators:
        walk.place(op)
    return replace(section, operators=tuple(walk.out))


class _Walk:
    """Goes through a section's operators and keeps where the residual stream lies.

    In the attention part each of ``token_shards`` groups of ``tp`` ranks has its tokens; in the
    feed-forward part each of ``ffn_shards`` groups of ``ffn_tp`` ranks.
    """

    def __init__(self, hidden: int, layout: Layout) -> None:
        self.hidden = hidden
        self.layout = layout
        self.out: list[Operator] = []
        self.attended = False
        self.parallel = False
        self.feeding = False
        self.gathered = False

    @property
    def split(self) -> int:
        """Into how many parts the tokens are cut where the walk is."""
        layout = self.layout
        shards = layout.token_shards
        if self.feeding:
            # a stream that is cut further is cut at once, one that is gathered as late as possible
            shards = layout.ffn_shards if self.gathered else max(shards, layout.ffn_shards)
        return shards * layout.micro_batches

    @property
    def ways(self) -> int:
        """Tensor parallelism where the walk is."""
        return self.layout.ffn_tp if self.feeding else self.layout.tp

    def place(self, op: Operator) -> None:
        """Append one chip's share of an operator, and what has to be moved around it."""
        if isinstance(op, Attention | LatentAttention):
            self._attention(op)
        elif isinstance(op, Matmul):
            self._matmul(op)
        elif isinstance(op, MoE):
            self._experts(op)
        elif isinstance(op, Elementwise):
            self._elementwise(op)
        elif isinstance(op, Gather):
            self.out.append(replace(op, split=self.split))
        else:
            raise InputError(f"operator '{op.name}' cannot be cut")

    def _attention(self, op: Attention | LatentAttention) -> None:
        tp, sp = self.layout.tp, self.layout.sp
        split = self.layout.dp * self.layout.micro_batches
        heads = -(-op.heads // tp)
        if sp > 1:
            self._collective(
                "attention_queries", "all-gather", _new_width(op, tp), "context", split
            )
        if isinstance(op, Attention):
            # Fewer key-value heads than ranks: they are replicated (Pope et al., section 3.3).
            kv_heads = max(1, -(-op.kv_heads // tp))
            self.out.append(replace(op, heads=heads, kv_heads=kv_heads, split=split, context=sp))
            width = heads * op.head_dim
        else:
            self.out.append(replace(op, heads=heads, split=split, context=sp))
            width = heads * op.v_dim
        if sp > 1:
            # Partial results over the ranks' keys, and each rank's log-sum of exponentials.
            self._collective("attention_combine", "reduce-scatter", width + heads, "context", split)
        self.attended = True

    def _matmul(self, op: Matmul) -> None:
        if op.rows == "logits":
            self._head(op)
            return
        if self.feeding:
            self._enter()
        ways = self.ways
        if op.shard == "columns":
            op = replace(op, n=-(-op.n // ways), stored_n=-(-op.stored_n // ways))
        elif op.shard == "rows":
            op = replace(op, k=-(-op.k // ways))
        self.out.append(replace(op, split=self.split))
        if op.shard != "rows":
            return
        if op.partial:
            self.parallel = self.parallel or not self.feeding
        elif self.feeding:
            self._leave(op.name)
        elif self.parallel or not self.attended:
            self._reduce(op.name, "tensor", self.layout.tp)
            self.attended = self.parallel = False
        else:
            self._to_feed_forward(op.name)

    def _experts(self, op: MoE) -> None:
        if not self.feeding:
            raise InputError("experts in a parallel block are not supported")
        self._enter()
        layout = self.layout
        width = -(-op.intermediate // layout.ffn_tp)
        copies = op.experts + layout.redundant_experts
        placed = replace(op, intermediate=width, split=self.split, ranks=layout.ep)
        self.out.append(replace(placed, experts=copies))
        self._leave(op.name)

    def _elementwise(self, op: Elementwise) -> None:
        cut = shrunk(op, self.ways) if op.sharded else op
        self.out.append(replace(cut, split=self.split))

    def _head(self, op: Matmul) -> None:
        """The vocabulary is cut over all ranks of the stage, who first get everybody's tokens."""
        layout = self.layout
        micro = layout.micro_batches
        if layout.token_shards > 1:
            self._collective("logits_tokens", "all-gather", op.k, "data", micro, "logits")
        width = -(-op.n // layout.stage)
        self.out.append(replace(op, n=width, stored_n=width, split=micro))
        if layout.token_shards > 1:
            self._collective("logits_exchange", "all-to-all", width, "stage", micro, "logits")
        elif layout.tp > 1:
            self._collective("logits_gather", "all-gather", op.stored_n, "tensor", micro, "logits")

    def _to_feed_forward(self, name: str) -> None:
        """After the output projection: whole sums, on the ranks that go on with these tokens."""
        layout = self.layout
        further = layout.ffn_shards // layout.token_shards
        if further > 1 and layout.ffn_tp == 1:
            self._collective(f"{name}_scatter", "reduce-scatter", self.hidden, "tensor", self.split)
        else:
            self._reduce(name, "tensor", layout.tp)
        self.attended = False
        self.feeding = True

    def _enter(self) -> None:
        """Before the first matmul of a network that more ranks share than the tokens' own."""
        layout = self.layout
        if not self.gathered and layout.token_shards > layout.ffn_shards:
            split = layout.ffn_shards * layout.micro_batches
            self._collective("ffn_tokens", "all-gather", self.hidden, "gather", split)
        self.gathered = True

    def _leave(self, name: str) -> None:
        """After the network: whole sums, back on the ranks that have these tokens' caches."""
        layout = self.layout
        micro = layout.micro_batches
        if layout.token_shards > layout.ffn_shards:
            split = layout.ffn_shards * micro
            self._collective(f"{name}_scatter", "reduce-scatter", self.hidden, "gather", split)
            self.feeding = self.gathered = False
            self._reduce(name, "tensor", layout.tp)
            return
        self._reduce(name, "ffn-tensor", layout.ffn_tp)
        self.feeding = self.gathered = False
        if layout.ffn_shards > layout.token_shards:
            self._collective(f"{name}_gather", "all-gather", self.hidden, "cut", self.split)

    def _reduce(self, name: str, group: str, ranks: int) -> None:
        if ranks > 1:
            self._collective(f"{name}_reduce", "all-reduce", self.hidden, group, self.split)

    def _collective(
        self, name: str, op: str, width: int, group: str, split: int, rows: str = "tokens"
    ) -> None:
        self.out.append(Collective(name, op, width, rows, group, split))  # type: ignore[arg-type]


def _new_width(op: Attention | LatentAttention, tp: int) -> int:
    """Elements of a new token's query, key and value on one rank."""
    heads = -(-op.heads // tp)
    if isinstance(op, Attention):
        return (heads + 2 * max(1, -(-op.kv_heads // tp))) * op.head_dim
    return heads * (op.nope_dim + op.rope_dim) + op.kv_rank + op.rope_dim
