"""The fastest layouts of a model on a system: all that fit are priced, bounds permitting.

A layout is first held against what its chips cannot undercut, arithmetic at the peak rate and
weights from HBM, and priced only if that leaves it among the best. So the ranking is that of
pricing them all.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import System
from simulator.hardware.fabric import Fabric
from simulator.kernels import executor
from simulator.mapping.layout import choose_layout
from simulator.mapping.layout_space import divisors, layouts
from simulator.mapping.memory import Memory, memory_of
from simulator.mapping.shard import shard
from simulator.model.layout import Layout
from simulator.model.operators import Matmul, MoE
from simulator.model.transformer import Transformer
from simulator.timing.choices import Dtypes, ExpertOptions, Speculation
from simulator.timing.plan import Plan, make_plan
from simulator.timing.results import CAUSES
from simulator.timing.sequences import MOST_SEQUENCES
from simulator.timing.step import PricedStep, evaluate
from simulator.units import format_bytes, format_time

OBJECTIVES = ("latency", "throughput")
MOST_CHIPS = 4096
"""How far the search for the smallest sufficient number of chips goes."""


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
class Search:
    """What is searched for: a step of a batch, and by which figure layouts are ranked."""

    phase: str
    batch: int
    context: int
    objective: str = "latency"
    top: int = 10

    def __post_init__(self) -> None:
        if self.phase not in ("prefill", "decode"):
            raise InputError(f"phase must be 'prefill' or 'decode', found '{self.phase}'")
        for name, value in (("batch", self.batch), ("context", self.context), ("top", self.top)):
            if value < 1:
                raise InputError(f"--{name} must be at least 1, found {value}")
        if self.batch > MOST_SEQUENCES:
            raise InputError(
                f"--batch: found {self.batch}, expected at most {MOST_SEQUENCES} sequences"
            )
        if self.objective not in OBJECTIVES:
            raise InputError(
                f"--objective: found '{self.objective[:40]}', expected {' or '.join(OBJECTIVES)}"
            )


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
    InputError for bad sizes.
    """
    kinds = dtypes or Dtypes()
    if search.context + (search.phase == "decode") > model.max_context:
        raise InputError(
            f"--context {search.context} is beyond the {model.max_context} tokens that "
            f"{model.name} supports"
        )
    found = list(layouts(system, model, search.batch, search.context))
    fitting = []
    for layout in found:
        share = _share(system, layout, search)
        if _fits(system, model, layout, kinds, share, search):
            fitting.append((_bound_ps(system, model, layout, kinds, share), layout))
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


@dataclass(frozen=True, slots=True)
class _Share:
    """What memory and bounds need of a batch, without an array of its sequences."""

    sequences: int
    tokens: int
    logits: int


def _share(system: System, layout: Layout, search: Search) -> _Share:
    """The padded batch of the fullest replica; see ``timing.step.evaluate``."""
    each = -(-search.batch // (system.chips // layout.chips))
    ways = layout.dp * layout.micro_batches
    sequences = -(-each // ways) * ways
    new = search.context if search.phase == "prefill" else 1
    return _Share(sequences, sequences * new, sequences)


def _fits(
    system: System,
    model: Transformer,
    layout: Layout,
    dtypes: Dtypes,
    share: _Share,
    search: Search,
) -> bool:
    weight, activation, kv = (int(bits) for bits in dtypes.bits()[:3])
    memory = memory_of(
        system,
        model,
        layout,
        weight_bits=weight,
        activation_bits=activation,
        kv_bits=kv,
        tokens=share.tokens,
        logits=share.logits,
    )
    length = search.context + (search.phase == "decode")
    return memory.kv > 0 and -(-share.sequences // layout.dp) * memory.kv_of(length) <= memory.kv


def _bound_ps(
    system: System, model: Transformer, layout: Layout, dtypes: Dtypes, share: _Share
) -> float:
    """What no schedule of this layout undercuts: products at the peak rate, weights from HBM."""
    weight, _, _ = (int(bits) for bits in dtypes.bits()[:3])
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
                    read = min(rows, op.experts / op.ranks) * matrices * weight / 8
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
        hint = _enough(system, least)
    weight = int(dtypes.bits()[0])
    size = format_bytes(model.parameters * weight // 8)
    return InfeasibleError(
        f"{model.name} ({size} of weights) with a batch of {search.batch} x {search.context} "
        f"tokens fits {system.name} in no layout",
        hint=hint,
    )


def with_chips(
    error: InfeasibleError, plan: Plan, search: Search, held: int | None = None
) -> InfeasibleError:
    """The error of a layout that does not fit, with the number of chips on which one does.

    ``held`` tokens of KV cache for each sequence, its context unless given, are what plain tensor
    parallelism has to have room for; where it has not, ``--layout auto`` is named.
    """
    least = smallest_sufficient(plan.system, plan.model, plan.dtypes, search)
    if least is None:
        return error
    if least <= plan.system.chips:
        more = "another layout may fit (--layout auto)"
    else:
        plain = _plain_fits(least, plan, search, held or search.context)
        more = _enough(plan.system, least, "" if plain else "with --layout auto")
    hint = more if error.hint is None else f"{error.hint}; {more}"
    return InfeasibleError(error.message, location=error.location, hint=hint)


def _enough(system: System, least: int, how: str = "") -> str:
    """The number of chips in words, with the slice that has them, and how they share the model."""
    slices = ("x".join(map(str, axes)) for axes in system.shapes if math.prod(axes) == least)
    shape = next(slices, None)
    words = " ".join(filter(None, (f"{system.family}:{shape}" if shape else "", how)))
    named = f" ({words})" if words else ""
    return f"the smallest number of such chips that would do is {least}{named}"


def smallest_sufficient(
    system: System, model: Transformer, dtypes: Dtypes, search: Search
) -> int | None:
    """The smallest number of such chips on which some layout fits; None beyond ``MOST_CHIPS``.

    Numbers that the system's family has no slice of are left out. Of how they are joined only
    that is looked at; what decides is the memory.
    """
    room = system.chip.hbm.capacity_bytes - system.reserve_bytes(0)
    weight, _, kv = (int(bits) for bits in dtypes.bits()[:3])
    cache = search.batch * model.kv_elements(search.context) * kv / 8
    cache = 0.0 if model.kv_heads == 1 else cache
    start = max(1, math.floor((model.parameters * weight / 8 + cache) * 0.9 / room))
    fine, coarse = _sizes(system, start)
    what = (system, model, dtypes, search)
    # where none will do, trying every number would take minutes to say so
    enough = next((chips for chips in coarse if _some_fits(chips, *what)), None)
    for chips in fine if enough else ():
        if chips == enough:
            break
        if not system.shapes and len(divisors(chips)) < 4 and chips > 7:
            # a prime number of chips, or twice one, has hardly any layout
            continue
        if _some_fits(chips, *what):
            return chips
    return enough


def _sizes(system: System, start: int) -> tuple[Sequence[int], Sequence[int]]:
    """Numbers of chips from ``start`` on, and fewer of them, each some twice the one before."""
    if not system.shapes:
        doubled = [2**power for power in range(MOST_CHIPS.bit_length())]
        return range(start, MOST_CHIPS + 1), [chips for chips in doubled if chips >= start]
    sizes = sorted({1, *(math.prod(axes) for axes in system.shapes)})
    fine = [chips for chips in sizes if start <= chips <= MOST_CHIPS]
    coarse: list[int] = []
    for chips in fine:
        if not coarse or chips >= 2 * coarse[-1] or chips == fine[-1]:
            coarse.append(chips)
    return fine, coarse


def _some_fits(
    chips: int, system: System, model: Transformer, dtypes: Dtypes, search: Search
) -> bool:
    trial = _switched(system, chips)
    return any(
        _fits(trial, model, layout, dtypes, _share(trial, layout, search), search)
        for layout in layouts(trial, model, search.batch, search.context)
    )


def _plain_fits(chips: int, plan: Plan, search: Search, held: int) -> bool:
    """Whether tensor parallelism over all chips, what is done unless asked, is legal and fits."""
    trial = _switched(plan.system, chips)
    try:
        layout = choose_layout(trial, plan.model)
    except InputError:
        return False
    share = _share(trial, layout, search)
    return _fits(trial, plan.model, layout, plan.dtypes, share, replace(search, context=held))


def _switched(system: System, chips: int) -> System:
    return replace(system, fabric=Fabric("switch", (chips,), (False,), 10**9))
