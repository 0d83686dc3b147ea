"""Choosing and checking a layout: which degrees divide the chips, the heads, the experts.

Ranks of a replica are numbered with tensor parallelism innermost, then context, then data, then
pipeline stages, so that the groups that talk most lie closest together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from simulator.errors import InputError
from simulator.hardware import System
from simulator.model.layers import Dense, Experts, GroupedQuery
from simulator.model.layout import Layout
from simulator.model.transformer import Transformer


def choose_layout(
    system: System,
    model: Transformer,
    *,
    tp: int | None = None,
    pp: int | None = None,
    ep: int | None = None,
    dp: int | None = None,
    sp: int | None = None,
) -> Layout:
    """The layout of the command line's options: tensor parallelism over all chips unless given.

    ``dp`` shares sequences among ranks for attention; feed-forward networks then cut their width
    over all of a stage's chips, or keep ``ep`` groups of experts.

    Raises InputError where a degree does not divide what it cuts.
    """
    given = {"tp": tp, "pp": pp, "ep": ep, "dp": dp, "sp": sp}
    for name, degree in given.items():
        if degree is not None and degree < 1:
            raise InputError(f"--{name} must be at least 1, found {degree}")
    stages, data, context = pp or 1, dp or 1, sp or 1
    outside = stages * data * context
    if system.chips % outside and tp is None:
        _refuse_chips(system, "--pp x --dp x --sp", outside)
    degree = system.chips // outside if tp is None else tp
    stage = degree * data * context
    experts = ep or 1
    if stage % experts:
        legal = _list(d for d in range(1, stage + 1) if stage % d == 0)
        raise InputError(
            f"expert parallelism {experts} does not divide the {stage} chips of a stage",
            hint=f"--ep may be {legal}",
        )
    layout = Layout(
        tp=degree,
        dp=data,
        sp=context,
        ffn_tp=stage // experts,
        ep=experts,
        pp=stages,
        micro_batches=stages,
    )
    check_layout(system, model, layout)
    return layout


def parse_compact(text: str) -> dict[str, int] | None:
    """Degrees of a compact layout such as ``tp8``, ``tp8-dp4-ep32`` or ``tp4pp2``; None otherwise.

    Raises InputError for a degree that is named twice.
    """
    if not re.fullmatch(r"(?:(?:tp|pp|ep|dp|sp)[0-9]{1,6}[-,]?)+", text.strip()):
        return None
    found = re.findall(r"(tp|pp|ep|dp|sp)([0-9]+)", text)
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"layout '{text}' names {name} twice")
    return {name: int(degree) for name, degree in found}


def check_layout(system: System, model: Transformer, layout: Layout) -> None:
    """Raise InputError where a layout does not fit chips or model, with the legal values."""
    if system.chips % layout.chips or (layout.chips > system.chips):
        _refuse_tp(system, model, layout, f"does not divide the {system.chips} chips")
    _check_attention(system, model, layout)
    _check_pipeline(model, layout)
    _check_feed_forward(model, layout)
    if layout.weights != "stationary-1d":
        _check_weights(model, layout)


def padded(model: Transformer, layout: Layout) -> Transformer:
    """The model with as many heads of zeros as ``pad_heads`` asks for."""
    if not layout.pad_heads:
        return model
    ways = layout.stage
    stacks = []
    for stack in model.stacks:
        layers = []
        for layer in stack.layers:
            attention = layer.attention
            heads = -(-attention.heads // ways) * ways
            layers.append(replace(layer, attention=replace(attention, heads=heads)))
        stacks.append(replace(stack, layers=tuple(layers)))
    return replace(model, stacks=tuple(stacks))


def legal_tensor_degrees(system: System, model: Transformer, rest: int) -> list[int]:
    """Degrees of tensor parallelism that leave ``rest`` ranks of other kinds."""
    return [
        t
        for t in range(1, system.chips // rest + 1)
        if system.chips % (t * rest) == 0
        and all(h % t == 0 for h in _heads(model))
        and all(w % t == 0 for w in ffn_widths(model))
    ]


def ffn_widths(model: Transformer) -> set[int]:
    """Every intermediate width that tensor parallelism cuts."""
    widths = set()
    for layer, _ in model.each_layer():
        widths.add(layer.ffn.intermediate)
        if isinstance(layer.ffn, Experts) and layer.ffn.shared_intermediate:
            widths.add(layer.ffn.shared_intermediate)
    return widths


def _heads(model: Transformer) -> set[int]:
    return {layer.attention.heads for layer, _ in model.each_layer()}


def _check_attention(system: System, model: Transformer, layout: Layout) -> None:
    for heads in sorted(_heads(padded(model, layout))):
        if heads % layout.tp:
            reason = f"does not divide the {heads} attention heads"
            _refuse_tp(system, model, layout, reason)


def _check_pipeline(model: Transformer, layout: Layout) -> None:
    if layout.pp > model.layers:
        raise InputError(
            f"pipeline parallelism {layout.pp} exceeds the {model.layers} layers of {model.name}",
            hint=f"--pp may be 1 to {model.layers}",
        )


def _check_feed_forward(model: Transformer, layout: Layout) -> None:
    if layout.ffn_tp * layout.ffn_shards != layout.stage:
        raise InputError(
            f"attention covers {layout.stage} chips of a stage (tp x dp x sp), feed-forward "
            f"networks {layout.ffn_tp * layout.ffn_shards} (tp x ep x dp)",
            hint="both have to cover the same chips",
        )
    experts = model.experts
    if layout.ep > 1 and experts is None:
        raise InputError(f"--ep {layout.ep}: {model.name} has no experts", hint="leave --ep out")
    if layout.redundant_experts and (experts is None or layout.ep == 1):
        raise InputError("redundant_experts: they belong to expert parallelism")
    if experts is not None and layout.redundant_experts > experts.experts:
        raise InputError(
            f"redundant_experts: found {layout.redundant_experts}, expected at most the "
            f"{experts.experts} experts of {model.name}"
        )
    if experts is not None and (experts.experts + layout.redundant_experts) % layout.ep:
        legal = _list(d for d in range(1, experts.experts + 1) if experts.experts % d == 0)
        raise InputError(
            f"expert parallelism {layout.ep} does not divide the {experts.experts} experts of "
            f"{model.name}"
            + (f" and {layout.redundant_experts} copies" if layout.redundant_experts else ""),
            hint=f"--ep may be {legal}; or a layout file with redundant_experts: "
            f"{-experts.experts % layout.ep}",
        )
    if layout.weights == "gathered":
        return
    for width in sorted(ffn_widths(model)):
        if width % layout.ffn_tp:
            raise InputError(
                f"tensor parallelism {layout.ffn_tp} does not divide the feed-forward width "
                f"{width} of {model.name}",
                hint=_tp_hint(model, layout),
            )
    a, n = layout.token_shards, layout.ffn_shards
    if a % n and n % a:
        raise InputError(
            f"{a} shares of tokens in attention (dp x sp) and {n} in feed-forward networks "
            "(ep x dp) do not nest",
            hint="one has to divide the other",
        )
    parallel = any(layer.parallel for layer, _ in model.each_layer())
    if parallel and layout.weights == "stationary-1d" and a != n:
        raise InputError(
            f"{model.name} has parallel blocks: attention and feed-forward networks need the same "
            "layout",
            hint="leave --dp and --sp out, or use weights stationary-2d or gathered",
        )


def _check_weights(model: Transformer, layout: Layout) -> None:
    kind = layout.weights
    dense = all(
        isinstance(layer.ffn, Dense) and isinstance(layer.attention, GroupedQuery)
        for layer, _ in model.each_layer()
    )
    if not dense:
        raise InputError(f"weights {kind} are for models of dense layers, not for {model.name}")
    if layout.pp > 1 or layout.sp > 1 or layout.micro_batches > 1:
        raise InputError(f"weights {kind} go with neither pp, sp nor micro-batches")
    if kind == "stationary-2d" and layout.stage % layout.grid_x:
        legal = _list(d for d in range(1, layout.stage + 1) if layout.stage % d == 0)
        raise InputError(
            f"grid: {layout.grid_x} does not divide the {layout.stage} chips", hint=f"use {legal}"
        )
    if kind == "stationary-2d" and layout.tp > 1 and layout.dp > 1:
        raise InputError(
            "with weights stationary-2d attention is cut by heads (tp) or by sequences (dp)",
            hint=f"use tp {layout.stage} or dp {layout.stage}",
        )
    if kind == "gathered" and layout.tp > 1:
        raise InputError(
            "with gathered weights every chip has whole sequences",
            hint=f"use attention dp {layout.stage}, ffn dp {layout.stage}",
        )


def _refuse_tp(system: System, model: Transformer, layout: Layout, reason: str) -> None:
    whose = system.name if "chips" in reason else model.name
    degrees = f"tensor parallelism {layout.tp}"
    if "chips" in reason and layout.chips != layout.tp:
        degrees = f"a replica of {layout.chips} chips ({layout.text})"
    raise InputError(f"{degrees} {reason} of {whose}", hint=_tp_hint(model, layout, system))


def _tp_hint(model: Transformer, layout: Layout, system: System | None = None) -> str:
    rest = layout.dp * layout.sp * layout.pp
    if system is None:
        # whatever divides all heads and widths divides their greatest common divisor
        common = math.gcd(*_heads(model), *ffn_widths(model))
        legal = [t for t in range(1, min(common, 1024) + 1) if common % t == 0]
    else:
        legal = legal_tensor_degrees(system, model, rest)
    if not legal:
        return "no degree of tensor parallelism goes with the others"
    return f"--tp may be {_list(legal)}"


def _refuse_chips(system: System, names: str, product: int) -> None:
    legal = _list(d for d in range(1, system.chips + 1) if system.chips % d == 0)
    raise InputError(
        f"{names} = {product} does not divide the {system.chips} chips of {system.name}",
        hint=f"the product may be {legal}",
    )


def _list(numbers: Iterator[int] | list[int]) -> str:
    texts = [str(number) for number in numbers]
    if len(texts) > 16:
        texts = [*texts[:12], "...", texts[-1]]
    return ", ".join(texts)
