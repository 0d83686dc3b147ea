"""The fastest layouts of a model on a system: all that fit are priced, bounds permitting.

A layout is first held against what its chips cannot undercut, arithmetic at the peak rate and
weights from HBM, and priced only if that leaves it among the best. So the ranking is that of
pricing them all.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import System
from simulator.kernels import executor
from simulator.kernels.chip_packing import require_dtype
from simulator.mapping.layout_space import layouts
from simulator.mapping.memory import Memory
from simulator.mapping.shard import shard
from simulator.model.layout import Layout
from simulator.model.operators import Matmul, MoE
from simulator.model.transformer import Transformer
from simulator.timing.choices import Dtypes, ExpertOptions, Speculation
from simulator.timing.layout_room import (
    MOST_CHIPS,
    Search,
    Share,
    fits,
    in_words,
    share_of,
    smallest_sufficient,
)
from simulator.timing.plan import make_plan
from simulator.timing.results import CAUSES
from simulator.timing.step import PricedStep, evaluate
from simulator.units import format_bytes, format_time


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layout and its step. ``tokens_per_s`` holds when such batches follow each other, so that
    a pipeline stays full; ``lost_ps`` is by what the time by cause exceeds the winner's."""

    layout: Layout
    time_ps: int
    tokens_per_s: float
    memory: Memory
    cache: int
    causes_ps: dict[str, int]

    @property
    def bound_by(self) -> str:
        """The cause of most of the time."""
        return max(self.causes_ps, key=lambda cause: self.causes_ps[cause])


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best layouts in order, how many were legal, and how many of them fit."""

    rows: tuple[Candidate, ...]
    legal: int
    fitting: int


def search_layouts(
    system: System,
    model: Transformer,
    search: Search,
    *,
    dtypes: Dtypes | None = None,
    experts: ExpertOptions | None = None,
    speculation: Speculation | None = None,
) -> Ranking:
    """The best ``search.top`` layouts.

    Raises InfeasibleError where none fits, with the smallest number of chips that would do, and
    InputError for bad sizes and a data type that the chip has no rate for.
    """
    kinds = dtypes or Dtypes()
    require_dtype(system.chip, kinds.activation)
    if search.context + (search.phase == "decode") > model.max_context:
        raise InputError(
            f"--context {search.context} is beyond the {model.max_context} tokens that "
            f"{model.name} supports"
        )
    found = list(layouts(system, model, search.batch, search.context))
    even = (experts or ExpertOptions()).under(system.engine).load == "balanced"
    fitting = []
    for layout in found:
        share = share_of(system, layout, search)
        if fits(system, model, layout, kinds, share, search):
            fitting.append((_bound_ps(system, model, layout, kinds, share, even), layout))
    if not fitting:
        raise _no_layout(system, model, kinds, search)
    fitting.sort(key=lambda entry: (entry[0], entry[1].text))
    best: list[tuple[float, str, Candidate]] = []
    for bound, layout in fitting:
        if len(best) >= search.top and _worse(bound, best[search.top - 1][2], search):
            break
        plan = make_plan(
            system, model, layout=layout, dtypes=kinds, experts=experts, speculation=speculation
        )
        try:
            priced = evaluate(plan, phase=search.phase, batch=search.batch, context=search.context)
        except InfeasibleError:
            continue
        candidate = _candidate(priced, search)
        insort(best, (_rank(candidate, search), candidate.layout.text, candidate), key=_order)
    if not best:
        raise _no_layout(system, model, kinds, search)
    rows = tuple(candidate for _, _, candidate in best[: search.top])
    return Ranking(rows, len(found), len(fitting))


def reason(loser: Candidate, winner: Candidate) -> str:
    """Why a layout came behind: the causes that cost it most beside the winner's."""
    more = {
        cause: loser.causes_ps[cause] - winner.causes_ps[cause]
        for cause in CAUSES
        if loser.causes_ps[cause] > winner.causes_ps[cause]
    }
    if not more:
        return "as fast" if loser.time_ps == winner.time_ps else "fewer tokens a second"
    worst = sorted(more, key=lambda cause: -more[cause])[:2]
    worth = [cause for cause in worst if 100 * more[cause] >= more[worst[0]]]
    return ", ".join(f"{cause} +{format_time(more[cause] / 1e12)}" for cause in worth)


def _order(entry: tuple[float, str, Candidate]) -> tuple[float, str]:
    return entry[0], entry[1]


def _rank(candidate: Candidate, search: Search) -> float:
    if search.objective == "latency":
        return candidate.time_ps
    return -candidate.tokens_per_s


def _worse(bound_ps: float, kept: Candidate, search: Search) -> bool:
    """Whether a step that takes at least ``bound_ps`` cannot come before ``kept``."""
    if search.objective == "latency":
        return bound_ps >= kept.time_ps
    return _tokens(search) * 1e12 / max(1.0, bound_ps) <= kept.tokens_per_s


def _tokens(search: Search) -> int:
    return search.batch * (search.context if search.phase == "prefill" else 1)


def _candidate(priced: PricedStep, search: Search) -> Candidate:
    plan, totals = priced.plan, priced.totals
    depth, batches = plan.layout.pp, plan.layout.micro_batches
    steady = int(totals[executor.TIME])
    if search.phase == "prefill":
        steady = steady * batches // (batches + depth - 1)
    host = priced.host_ps
    causes = {name: int(totals[executor.CAUSES + i]) for i, name in enumerate(CAUSES)}
    causes["host"] += host
    good = _tokens(search) * (plan.speculation.tokens if search.phase == "decode" else 1)
    return Candidate(
        layout=plan.layout,
        time_ps=priced.time_ps,
        tokens_per_s=good * 1e12 / (steady + host),
        memory=priced.memory,
        cache=priced.cache,
        causes_ps=causes,
    )


def _bound_ps(
    system: System, model: Transformer, layout: Layout, dtypes: Dtypes, share: Share, even: bool
) -> float:
    """What no schedule of this layout undercuts: products at the peak rate, weights from HBM.

    Of experts those that tokens meet at least: as many as they can where the load is ``even``.
    """
    weight = dtypes.weight_bits
    chip = system.chip
    peak = chip.peak_flops_per_s(dtypes.activation)
    worst = 0.0
    for stage in shard(model, layout).stages:
        total = 0.0
        for section in stage.sections:
            for op in section.operators:
                if isinstance(op, Matmul):
                    rows = share.logits if op.rows == "logits" else share.tokens
                    flops = 2.0 * -(-rows // op.split) * op.k * op.n
                    read = op.k * op.n * weight / 8
                elif isinstance(op, MoE):
                    rows = -(-share.tokens // op.split) * op.top_k
                    matrices = op.hidden * op.intermediate * (3 if op.gated else 2)
                    flops = 2.0 * rows * matrices
                    met = min(rows if even else op.top_k, op.experts / op.ranks)
                    read = met * matrices * weight / 8
                    read = 0.0 if layout.ep > 1 else read
                else:
                    continue
                seconds = max(flops / peak, read / chip.hbm.bandwidth_bytes_per_s)
                total += section.repeat * seconds
        worst = max(worst, total)
    return worst * layout.micro_batches * 1e12 + system.host_iteration_ps


def _no_layout(
    system: System, model: Transformer, dtypes: Dtypes, search: Search
) -> InfeasibleError:
    what = f"chips up to {MOST_CHIPS}" if not system.shapes else f"chips of {system.family}"
    hint = f"no number of {what} would do"
    least = smallest_sufficient(system, model, dtypes, search)
    if least:
        hint = in_words(system, least)
    size = format_bytes(int(model.parameters * dtypes.weight_bits / 8))
    return InfeasibleError(
        f"{model.name} ({size} of weights) with a batch of {search.batch} x {search.context} "
        f"tokens fits {system.name} in no layout",
        hint=hint,
    )
