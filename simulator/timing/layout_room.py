"""Which layouts fit the memory of a system, and how many of its chips would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import System
from simulator.hardware.fabric import Fabric
from simulator.mapping.layout import choose_layout
from simulator.mapping.layout_space import divisors, layouts
from simulator.mapping.memory import BITS, memory_of
from simulator.model.layout import Layout
from simulator.model.transformer import Transformer
from simulator.timing.choices import Dtypes
from simulator.timing.plan import Plan
from simulator.timing.sequences import MOST_SEQUENCES

OBJECTIVES = ("latency", "throughput")
MOST_CHIPS = 4096
"""How far the search for the smallest sufficient number of chips goes."""


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
class Share:
    """What memory and bounds need of a batch, without an array of its sequences."""

    sequences: int
    tokens: int
    logits: int


def share_of(system: System, layout: Layout, search: Search) -> Share:
    """The padded batch of the fullest replica; see ``timing.step.evaluate``."""
    each = -(-search.batch // (system.chips // layout.chips))
    ways = layout.dp * layout.micro_batches
    sequences = -(-each // ways) * ways
    new = search.context if search.phase == "prefill" else 1
    return Share(sequences, sequences * new, sequences)


def fits(
    system: System,
    model: Transformer,
    layout: Layout,
    dtypes: Dtypes,
    share: Share,
    search: Search,
) -> bool:
    """Whether weights, activations and the cache of a share fit the fullest chip."""
    beside = dtypes.beside.bits()
    memory = memory_of(
        system,
        model,
        layout,
        weight_bits=dtypes.weight_bits,
        activation_bits=int(beside[1]),
        kv_bits=int(beside[2]),
        tokens=share.tokens,
        logits=share.logits,
    )
    length = search.context + (search.phase == "decode")
    return memory.kv > 0 and -(-share.sequences // layout.dp) * memory.kv_of(length) <= memory.kv


def with_chips(
    error: InfeasibleError, plan: Plan, search: Search, held: int | None = None
) -> InfeasibleError:
    """The error of a layout that does not fit, with the number of chips on which one does.

    Where the model's weights are published in fewer bits than they are given, that is said first.

    ``held`` tokens of KV cache for each sequence, its context unless given, are what plain tensor
    parallelism has to have room for; where it has not, ``--layout auto`` is named.
    """
    error = _with_stored(error, plan)
    least = smallest_sufficient(plan.system, plan.model, plan.dtypes, search)
    if least is None:
        return error
    if least <= plan.system.chips:
        more = "another layout may fit (--layout auto)"
    else:
        plain = _plain_fits(least, plan, search, held or search.context)
        more = in_words(plan.system, least, "" if plain else "with --layout auto")
    hint = more if error.hint is None else f"{error.hint}; {more}"
    return InfeasibleError(error.message, location=error.location, hint=hint)


def _with_stored(error: InfeasibleError, plan: Plan) -> InfeasibleError:
    """The error with the data type of the published weights, where that is a smaller one."""
    published = plan.model.quantization
    stored = min(published.experts, published.dense, key=BITS.__getitem__)
    if error.hint is None or BITS[stored] >= BITS[plan.dtypes.weight]:
        return error
    whose = "weights" if stored == published.dense else "experts"
    said = f"the {whose} of {plan.model.name} are published in {stored} (--weight-dtype {stored})"
    return InfeasibleError(error.message, location=error.location, hint=f"{said}; {error.hint}")


def in_words(system: System, least: int, how: str = "") -> str:
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
    weight, kv = dtypes.weight_bits, int(dtypes.bits()[2])
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
        fits(trial, model, layout, dtypes, share_of(trial, layout, search), search)
        for layout in layouts(trial, model, search.batch, search.context)
    )


def _plain_fits(chips: int, plan: Plan, search: Search, held: int) -> bool:
    """Whether tensor parallelism over all chips, what is done unless asked, is legal and fits."""
    trial = _switched(plan.system, chips)
    try:
        layout = choose_layout(trial, plan.model)
    except InputError:
        return False
    share = share_of(trial, layout, search)
    return fits(trial, plan.model, layout, plan.dtypes, share, replace(search, context=held))


def _switched(system: System, chips: int) -> System:
    return replace(system, fabric=Fabric("switch", (chips,), (False,), 10**9))
