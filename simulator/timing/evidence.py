"""What of a model's operators has been compared with measurements on a system's chip."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.hardware import System, Validated
from simulator.model.layers import Experts, GroupedQuery
from simulator.model.transformer import Transformer

LATENT = " MLA"
"""Ends the name of a table of latent attention."""

BLOCKS = " fp8 blocks"
"""Ends the name of a table of operands of 8 bits that have scales in blocks."""

FORMS = (BLOCKS, " nvfp4", " mxfp4", " int4")
"""Ends of the names of tables of experts whose weights have scales in blocks or 4 bits."""


def compared(system: System, model: Transformer) -> tuple[Validated, ...]:
    """The comparisons of the chip that say something of this model on this system.

    Those of experts only where it has experts, of collectives where there are several chips, and of
    the kind of attention that it has. The servers that were measured ran dense models and say
    nothing of one with experts.
    """
    used = _operators(system, model)
    servers = () if "moe" in used else ("server",)
    grouped = is_grouped(model)
    return tuple(
        entry
        for entry in system.validation
        if entry.operator in (*used, "copy", *servers)
        and (not entry.operator.startswith("attention") or entry.table.endswith(LATENT) != grouped)
    )


def uncompared(system: System, model: Transformer, entries: Iterable[Validated]) -> tuple[str, ...]:
    """Operators that the model has and none of the ``compared`` ``entries`` is about."""
    known = {entry.operator for entry in entries}
    return tuple(name for name in _operators(system, model) if name not in known)


def is_grouped(model: Transformer) -> bool:
    """Whether all layers cache keys and values of heads, and none a latent vector."""
    return all(isinstance(layer.attention, GroupedQuery) for layer, _ in model.each_layer())


def _operators(system: System, model: Transformer) -> tuple[str, ...]:
    experts = any(isinstance(layer.ffn, Experts) for layer, _ in model.each_layer())
    return (
        *("matmul", "attention-decode", "attention-prefill"),
        *(("moe",) if experts else ()),
        *(("collective",) if system.chips > 1 else ()),
    )
