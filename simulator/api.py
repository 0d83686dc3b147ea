"""The public entry: ``simulate``, ``price_step``, ``price_matmul``, and the loaders they need."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simulator.config.loader import (
    load_chip,
    load_engine,
    load_layout,
    load_model,
    load_system,
    load_workload,
)
from simulator.hardware import System
from simulator.model.transformer import Transformer
from simulator.serving.cluster import replay, serve
from simulator.serving.options import ServingOptions
from simulator.serving.pools import PREFILL, Deployment, Member, Pool, Servers
from simulator.serving.results import RunResult
from simulator.steps import find_layouts, plan_of, price_step
from simulator.timing.choices import Dtypes
from simulator.timing.layout_options import LayoutOptions
from simulator.timing.layout_room import Search
from simulator.timing.plan import Plan
from simulator.timing.sequences import MOST_SEQUENCES
from simulator.workload.generate import generate
from simulator.workload.request import Workload, with_slos
from simulator.workload.slo import Slo
from simulator.workload.spec import WorkloadSpec

if TYPE_CHECKING:
    from simulator.fabric.collective_timing import CollectiveTiming
    from simulator.fabric.collectives import price_collective
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
    from simulator.timing.moe_case import MoeCase
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
    "MoeCase": "simulator.timing.moe_case",
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
