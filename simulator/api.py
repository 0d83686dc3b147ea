"""The public entry: ``simulate``, ``price_step``, ``price_matmul``, and the loaders they need."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.config.loader import (
    load_any_model,
    load_chip,
    load_engine,
    load_layout,
    load_model,
    load_system,
    load_workload,
)
from simulator.errors import InfeasibleError, InputError, nearest
from simulator.hardware import System
from simulator.mapping.layout import choose_layout, parse_compact
from simulator.model.layout import Layout
from simulator.model.transformer import Transformer
from simulator.serving.cluster import replay, serve
from simulator.serving.options import ServingOptions
from simulator.serving.pools import PREFILL, Deployment, Member, Pool, Servers
from simulator.serving.results import RunResult
from simulator.timing import step as steps
from simulator.timing.choices import Dtypes
from simulator.timing.layout_options import LayoutOptions
from simulator.timing.layout_room import Search, with_chips
from simulator.timing.layout_search import Ranking, search_layouts
from simulator.timing.plan import Plan, make_plan
from simulator.timing.results import StepTiming
from simulator.timing.sequences import MOST_SEQUENCES
from simulator.workload.generate import generate
from simulator.workload.request import Workload, with_slos
from simulator.workload.slo import Slo
from simulator.workload.spec import WorkloadSpec

if TYPE_CHECKING:
    from simulator.fabric.collective_timing import CollectiveTiming
    from simulator.fabric.collectives import price_collective
    from simulator.model.convnet import ConvNet
    from simulator.operators import (
        matmul_seconds,
        price_attention,
        price_attentions,
        price_copies,
        price_latents,
        price_matmul,
        price_matmuls,
        price_moe,
        price_moes,
    )
    from simulator.timing.attention_operator import AttentionCase
    from simulator.timing.latent_operator import LatentCase
    from simulator.timing.moe_operator import MoeCase
    from simulator.workload.traces import read_trace

__all__ = [
    "AttentionCase",
    "CollectiveTiming",
    "Deployment",
    "LatentCase",
    "LayoutOptions",
    "MoeCase",
    "Servers",
    "ServingOptions",
    "deploy",
    "find_layouts",
    "generate",
    "load_chip",
    "load_engine",
    "load_layout",
    "load_model",
    "load_system",
    "load_workload",
    "matmul_seconds",
    "plan_of",
    "price_attention",
    "price_attentions",
    "price_collective",
    "price_copies",
    "price_latents",
    "price_matmul",
    "price_matmuls",
    "price_moe",
    "price_moes",
    "price_step",
    "read_trace",
    "serve",
    "server",
    "simulate",
]

_OPERATORS = (
    *("price_attention", "price_attentions", "price_copies", "price_latents"),
    *("price_matmul", "price_matmuls", "price_moe", "price_moes", "matmul_seconds"),
)
_ELSEWHERE = {
    **dict.fromkeys(_OPERATORS, "simulator.operators"),
    "AttentionCase": "simulator.timing.attention_operator",
    "CollectiveTiming": "simulator.fabric.collective_timing",
    "LatentCase": "simulator.timing.latent_operator",
    "MoeCase": "simulator.timing.moe_operator",
    "price_collective": "simulator.fabric.collectives",
    "read_trace": "simulator.workload.traces",
}
"""What is imported when it is first used: a run needs none of it."""


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module 'simulator.api' has no attribute '{name}'")


def simulate(
    system: System | str,
    model: Transformer | str,
    workload: Workload | WorkloadSpec | str,
    *,
    tp: int | None = None,
    weight_dtype: str = "bf16",
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    layout: LayoutOptions | None = None,
    max_batch: int = 256,
    token_budget: int = 8192,
    seed: int = 0,
    warmup_s: float = 0.0,
    replicas: int = 1,
    slo: Slo | None = None,
    record_iterations: bool = False,
    progress: Callable[[float], None] | None = None,
) -> RunResult:
    """Replay a workload on a system and report latency, throughput, utilization and cost.

    ``system``, ``model`` and ``workload`` are specifications or names. ``tp`` is the degree of
    tensor parallelism (all chips unless given), ``layout`` says more than that; the replicas that
    the system has room for share the requests. A layout that is searched for (``auto``) is the
    fastest decode of ``max_batch`` sequences in the middle of their output. At most
    ``max_batch`` sequences and ``token_budget`` tokens go into an iteration. Requests that arrive
    in the first ``warmup_s`` seconds are left out of the statistics. ``replicas`` are copies of
    the whole system; ``slo`` replaces the workload's own for all classes. ``progress`` is called
    with the fraction that is done.

    Raises InputError for unknown names and bad values, InfeasibleError where the model does not
    fit.
    """
    spec = load_workload(workload) if isinstance(workload, str) else workload
    traffic = generate(spec, seed=seed) if isinstance(spec, WorkloadSpec) else spec
    if slo is not None:
        traffic = with_slos(traffic, {"": slo})
    lengths = traffic.traffic.prompt_tokens + traffic.traffic.output_tokens // 2
    plan = plan_of(
        load_system(system) if isinstance(system, str) else system,
        load_model(model) if isinstance(model, str) else model,
        layout or LayoutOptions(tp=tp),
        Dtypes(weight_dtype, activation_dtype, kv_dtype),
        Search("decode", max_batch, max(1, int(lengths.mean()))),
    )
    speculation = plan.speculation
    options = ServingOptions(
        max_batch,
        token_budget,
        warmup_s,
        seed,
        record_iterations,
        speculate=speculation.drafts,
        acceptance=speculation.acceptance,
    )
    return replay(plan, traffic, options, progress, replicas)


def deploy(
    model: Transformer,
    pools: Mapping[str, Sequence[Servers]],
    workload: Workload,
    *,
    dtypes: Dtypes,
    max_batch: int = 256,
) -> Deployment:
    """Lay a model over pools of systems: ``serve``, or ``prefill`` and ``decode``.

    A layout that is searched for (``auto``) is the fastest for what its pool does with the
    workload's mean lengths. Equal members of a pool share their prices.

    Raises InputError for a layout that does not fit, InfeasibleError where none does.
    """
    prompt = max(1, int(workload.traffic.prompt_tokens.mean()))
    middle = max(1, prompt + int(workload.traffic.output_tokens.mean()) // 2)
    most = min(max_batch, MOST_SEQUENCES)
    known: list[tuple[Servers, bool, Plan]] = []
    found = []
    for role, members in pools.items():
        prefills = role == PREFILL
        search = Search("prefill", 1, prompt) if prefills else Search("decode", most, middle)
        planned = []
        for member in members:
            one = replace(member, copies=1)
            plan = next((p for s, way, p in known if s == one and way == prefills), None)
            if plan is None:
                plan = plan_of(member.system, model, member.layout, dtypes, search)
                known.append((one, prefills, plan))
            planned.append(Member(plan, member.copies))
        found.append(Pool(role, tuple(planned)))
    return Deployment(tuple(found))


def server(deployment: Deployment, options: ServingOptions) -> Callable[[Workload, int], RunResult]:
    """What replays (workload, copies of the whole deployment): for searches that replay many
    times. Prices are kept from one replay to the next.
    """

    def replay_on(workload: Workload, copies: int) -> RunResult:
        pools = tuple(
            replace(pool, members=tuple(replace(m, copies=copies * m.copies) for m in pool.members))
            for pool in deployment.pools
        )
        return serve(replace(deployment, pools=pools), workload, options)

    return replay_on


def price_step(
    system: System | str,
    model: Transformer | ConvNet | str,
    *,
    phase: str,
    batch: int,
    context: int,
    tp: int | None = None,
    weight_dtype: str = "bf16",
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    layout: LayoutOptions | None = None,
) -> StepTiming:
    """Price one iteration: ``batch`` prompts of ``context`` tokens (prefill), or one token for
    each of ``batch`` sequences that have ``context`` tokens cached (decode).

    ``tp`` is the degree of tensor parallelism (all chips unless given), ``layout`` says more. A
    convolutional network takes ``batch`` images in a prefill step of context 1.

    Raises InputError for unknown names and bad values, InfeasibleError where it does not fit HBM.
    """
    system = load_system(system) if isinstance(system, str) else system
    model = load_any_model(model) if isinstance(model, str) else model
    options = layout or LayoutOptions(tp=tp)
    _check_speculation(options, phase)
    if not isinstance(model, Transformer):
        from simulator.timing import convnet as convnets

        if options != LayoutOptions(tp=options.tp):
            raise InputError(f"{model.name} has no layout but its images shared by all chips")
        convnets.check_step(model, phase, context, options.tp, (weight_dtype, activation_dtype))
        return convnets.price_images(system, model, batch, activation_dtype)
    plan = plan_of(
        system,
        model,
        options,
        Dtypes(weight_dtype, activation_dtype, kv_dtype),
        Search(phase, batch, context),
    )
    try:
        return steps.price_step(plan, phase=phase, batch=batch, context=context)
    except InfeasibleError as error:
        raise with_chips(error, plan, Search(phase, batch, context)) from None


def find_layouts(
    system: System | str,
    model: Transformer | str,
    *,
    phase: str,
    batch: int,
    context: int,
    objective: str = "latency",
    top: int = 10,
    weight_dtype: str = "bf16",
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    options: LayoutOptions | None = None,
) -> Ranking:
    """The fastest layouts for a step, or those with most tokens a second; see ``price_step``.

    Of ``options`` only how experts run and speculation count.

    Raises InputError for unknown names and bad values, InfeasibleError where no layout fits, with
    the smallest number of chips that would do.
    """
    chosen = options or LayoutOptions()
    _check_speculation(chosen, phase)
    model = load_model(model) if isinstance(model, str) else model
    chosen.check(model)
    return search_layouts(
        load_system(system) if isinstance(system, str) else system,
        model,
        Search(phase, batch, context, objective, top),
        dtypes=Dtypes(weight_dtype, activation_dtype, kv_dtype),
        experts=chosen.experts,
        speculation=chosen.speculation,
    )


def plan_of(
    system: System,
    model: Transformer,
    options: LayoutOptions,
    dtypes: Dtypes,
    search: Search,
) -> Plan:
    """The plan of a layout's options; ``auto`` looks for the layout that is best for ``search``.

    Raises InputError for a layout that does not fit the system or the model, InfeasibleError where
    none fits.
    """
    options.check(model)
    chosen = options.layout
    if chosen == "auto":
        best = search_layouts(
            system,
            model,
            replace(search, top=1),
            dtypes=dtypes,
            experts=options.experts,
            speculation=options.speculation,
        )
        chosen = best.rows[0].layout
    elif isinstance(chosen, str):
        compact = parse_compact(chosen)
        chosen = _read(chosen) if compact is None else choose_layout(system, model, **compact)
    return make_plan(
        system,
        model,
        layout=chosen or choose_layout(system, model, **options.degrees),
        dtypes=dtypes,
        experts=options.experts,
        speculation=options.speculation,
    )


def _check_speculation(options: LayoutOptions, phase: str) -> None:
    if options.speculation.drafts and phase == "prefill":
        raise InputError(
            f"--speculate {options.speculate}: a prefill step drafts nothing, its tokens are known",
            hint="expected --phase decode, or no --speculate",
        )


def _read(layout: str) -> Layout:
    """A layout file; what cannot be one is a word that is misspelt."""
    if not Path(layout).exists() and not Path(layout).suffix and "/" not in layout:
        raise InputError(
            f"unknown layout '{layout[:60]}', expected auto, degrees such as tp8-ep64, or a file",
            hint="did you mean 'auto'?" if nearest(layout, ("auto",)) else None,
        )
    return load_layout(layout)
