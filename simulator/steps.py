"""Prices of single steps and the layouts behind them; public by ``api``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.config.loader import load_any_model, load_layout, load_model, load_system
from simulator.errors import InfeasibleError, InputError, nearest
from simulator.hardware import System
from simulator.mapping.layout import choose_layout, parse_compact
from simulator.model.layout import Layout
from simulator.model.transformer import Transformer
from simulator.timing import step
from simulator.timing.choices import Dtypes
from simulator.timing.layout_options import LayoutOptions
from simulator.timing.layout_room import Search, with_chips
from simulator.timing.layout_search import Ranking, search_layouts
from simulator.timing.plan import Plan, make_plan
from simulator.timing.results import StepTiming

if TYPE_CHECKING:
    from simulator.model.convnet import ConvNet


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
        return step.price_step(plan, phase=phase, batch=batch, context=context)
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
