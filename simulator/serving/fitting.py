"""What a replica of a plan has for KV caches, beside weights, activations and reserve."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InfeasibleError, InputError
from simulator.mapping.memory import Memory, check_room
from simulator.serving import fields
from simulator.serving.options import ServingOptions
from simulator.serving.pools import Deployment, Pool
from simulator.serving.price_table import PriceTable, most_rows
from simulator.timing.layout_room import Search, with_chips
from simulator.timing.plan import Plan


@dataclass(frozen=True, slots=True)
class Fitted:
    """A plan with its prices, what fills the HBM of its chips, and the KV blocks of a replica."""

    prices: PriceTable
    memory: Memory
    blocks: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one block on all chips that hold a part of it."""
        layout = self.prices.plan.layout
        return self.memory.kv_per_token * fields.BLOCK_TOKENS * layout.chips // layout.dp


def fit_all(deployment: Deployment, options: ServingOptions) -> dict[int, Fitted]:
    """Every plan of a deployment, once, by its id.

    Raises:
        InputError: the token budget leaves a rank of one of them nothing for a sequence.
        InfeasibleError: the model does not fit one of them, or not even one block of KV cache.
    """
    found: dict[int, Fitted] = {}
    for member in (member for pool in deployment.pools for member in pool.members):
        if id(member.plan) not in found:
            found[id(member.plan)] = fit(member.plan, options)
    return found


def smallest_tokens(pool: Pool, fitted: dict[int, Fitted]) -> int:
    """Tokens that the smallest KV cache of a pool holds."""
    return min(fitted[id(m.plan)].blocks for m in pool.members) * fields.BLOCK_TOKENS


def fit(plan: Plan, options: ServingOptions) -> Fitted:
    """What a replica of a plan has for KV.

    Raises:
        InputError: the token budget leaves a rank nothing for a sequence.
        InfeasibleError: the model does not fit, or not even one block of KV cache.
    """
    _check_budget(plan, options)
    logits = min(options.max_batch * (1 + options.speculate), options.token_budget)
    memory = plan.memory(options.token_budget, logits)
    try:
        check_room(plan.system, plan.model, plan.layout, memory)
    except InfeasibleError as error:
        longest = min(options.token_budget, plan.model.max_context)
        # a replica serves from its first block of cache on
        search = Search("prefill", 1, longest)
        raise with_chips(error, plan, search, held=fields.BLOCK_TOKENS) from None
    # ranks that share the sequences have room for as many each
    blocks = memory.kv // (memory.kv_per_token * fields.BLOCK_TOKENS) * plan.layout.dp
    if blocks < 1:
        raise InfeasibleError(
            f"{plan.model.name} on {plan.system.name} leaves {memory.kv} B of HBM a chip, "
            f"less than one KV block of {memory.kv_per_token * fields.BLOCK_TOKENS} B"
        )
    return Fitted(PriceTable(plan, most_rows(plan, options)), memory, blocks)


def _check_budget(plan: Plan, options: ServingOptions) -> None:
    """Refuse a budget of which a rank cannot compute one sequence: each has an equal part of it."""
    ranks, each = plan.layout.dp, 1 + options.speculate
    if options.token_budget < ranks * each:
        raise InputError(
            f"--token-budget {options.token_budget} is shared by {ranks} ranks of data-parallel "
            f"attention, each of which needs {each} for a sequence",
            hint=f"expected at least {ranks * each}",
        )
