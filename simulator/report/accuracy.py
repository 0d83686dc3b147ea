"""What the accuracy of a result's prices rests on: one line, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simulator.hardware.matrix_unit import rate_of
from simulator.report.figures import count
from simulator.timing.evidence import BLOCKS, FORMS, LATENT

if TYPE_CHECKING:
    from simulator.hardware import Chip, ServingEngine, Validated
    from simulator.serving.results import RunResult
    from simulator.timing.results import StepTiming

OVERRIDDEN = (
    "accuracy: not validated with these values (--set or the file changes what was measured)"
)

UNVALIDATED = "accuracy: unvalidated (nothing measured on this chip says how good its prices are)"

SHORT = {"attention-decode": "decode attention", "attention-prefill": "prefill attention"}

OF_CACHE = ("attention-decode", "attention-prefill")
"""Operators whose tables are by the data type of the KV cache; others by that of the arithmetic.

What attention multiplies in follows from the type of the cache, whatever the activations are
(``mapping.attention_dtype``); of 8-bit activations over a 16-bit cache it is that of the cache.
"""

OF_BYTES = ("collective", "copy")
"""Operators that move bytes of whatever type."""


def rests_on(result: RunResult | StepTiming) -> str:
    """The line of a run or a step."""
    return accuracy_line(
        result.accuracy, result.dtypes, result.engine, result.unvalidated, result.overridden
    )


def evidence_json(
    entries: Sequence[Validated],
    unvalidated: Sequence[tuple[str, str]],
    engine: ServingEngine | None,
) -> dict[str, Any]:
    """The keys ``engine``, ``accuracy`` and ``unvalidated`` of a document."""
    return {
        "engine": None if engine is None else engine.name,
        "accuracy": accuracy_json(entries),
        "unvalidated": unvalidated_json(unvalidated),
    }


def accuracy_line(
    entries: Sequence[Validated],
    dtypes: Mapping[str, str],
    engine: ServingEngine | None = None,
    unvalidated: Sequence[tuple[str, str]] = (),
    overridden: Sequence[str] = (),
) -> str:
    """``accuracy: mean error against measurements: matmul 5.9 %, ...`` for the data types in use.

    Args:
        entries: the comparisons; of each operator the first in the data type in use counts, else
            its first. Servers count in their own data type only, since they say how good the
            whole is.
        dtypes: of ``weight``, ``activation`` and ``kv``.
        engine: whose host time is used; None where it is the system's estimate.
        unvalidated: (chip, operator) of what the model has and nobody compared.
        overridden: chips that were compared, but not with these overrides.
    """
    chips = dict.fromkeys([*(entry.chip for entry in entries), *(chip for chip, _ in unvalidated)])
    if len(chips) > 1:
        parts = []
        for chip in chips:
            own = [replace(entry, chip="") for entry in entries if entry.chip == chip]
            missing = [("", name) for of, name in unvalidated if of == chip]
            changed = ("",) if chip in overridden else ()
            line = accuracy_line(own, dtypes, engine, missing, changed).removeprefix("accuracy: ")
            parts.append(f"{chip}: {line}")
        return f"accuracy: {'; '.join(parts)}"
    first: dict[str, Validated] = {}
    form = expert_form(dtypes.get("activation", "bf16"), dtypes.get("weight", "bf16"), False)
    narrow = [e for e in entries if form and e.operator == "moe" and e.table.endswith(form)]
    # of experts with weights of 4 bits the tables of that format
    for entry in sorted([*narrow, *entries], key=lambda entry: not _used(entry, dtypes)):
        if _used(entry, dtypes) or entry.operator != "server":
            first.setdefault(entry.operator, entry)
    if not first:
        return OVERRIDDEN if overridden else UNVALIDATED
    order = dict.fromkeys(entry.operator for entry in entries)
    listed = ", ".join(_part(first[name], dtypes, engine) for name in order if name in first)
    rows = count(sum(entry.count for entry in first.values()), "measurements")
    rest = _rest([name for _, name in unvalidated], "server" in first, engine)
    return f"accuracy: mean error against {rows} of this chip: {listed}{rest}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Which comparisons of a ``chip`` say something of one operator's price.

    ``dtype`` is the one that its tables are by. ``form`` ends the name of the tables of the same
    format ("" for plain operands). Of experts ``kernels`` is a library that was named; "" is what
    an engine takes.
    """

    chip: Chip
    operator: str
    dtype: str
    form: str = ""
    kernels: str = ""

    def entries(self) -> tuple[Validated, ...]:
        """All of the operator, those of latent attention left out; the nearest first."""
        of_all = self.chip.validation
        own = [e for e in of_all if e.operator == self.operator and not e.table.endswith(LATENT)]
        return tuple(sorted(own, key=self._distance))

    def _distance(self, entry: Validated) -> tuple[bool, bool]:
        return rate_of(entry.dtype) != rate_of(self.dtype), not self._is_of_form(entry)

    def line(self) -> str:
        """What the price rests on."""
        entries = self.entries()
        if not entries and self.chip.overridden:
            return OVERRIDDEN
        if not entries:
            return "accuracy: unvalidated (no measurement of this operator on this chip is at hand)"
        first = entries[0]
        other = rate_of(first.dtype) != rate_of(self.dtype) and first.operator not in OF_BYTES
        rows = count(first.count, "measurements")
        line = (
            f"accuracy: mean error {first.mape_percent:.1f} % against {rows} of this operator on "
            f"this chip{f' in {first.dtype}' if other else ''} ({first.table})"
        )
        missing = [] if self._is_of_form(first) else ["this format of weights"]
        missing += [f"kernels of {self.kernels}"] if self.kernels else []
        return f"{line}; not validated: {', '.join(missing)}" if missing else line

    def _is_of_form(self, entry: Validated) -> bool:
        if self.form:
            return entry.table.endswith(self.form)
        return not entry.table.endswith(FORMS)


def expert_form(dtype: str, weight_dtype: str, blocks: bool) -> str:
    """The end of the name of tables of a layer of experts, one of ``FORMS``; "" for plain ones."""
    if blocks:
        return BLOCKS
    if rate_of(dtype) == "fp4":
        return " nvfp4"
    return {"fp4": " mxfp4", "int4": " int4"}.get(weight_dtype, "")


def _used(entry: Validated, dtypes: Mapping[str, str]) -> bool:
    if entry.operator == "server" and dtypes.get("weight") != dtypes.get("activation"):
        return False
    if entry.operator in OF_BYTES:
        return True
    activation = dtypes.get("activation", "bf16")
    if entry.operator in OF_CACHE:
        return entry.dtype == dtypes.get("kv", activation)
    return rate_of(entry.dtype) == rate_of(activation)


def _part(entry: Validated, dtypes: Mapping[str, str], engine: ServingEngine | None) -> str:
    name = SHORT.get(entry.operator, entry.operator)
    if entry.operator == "server" and engine is not None:
        name = f"{engine.name} server"
    other = "" if _used(entry, dtypes) else f" in {entry.dtype}"
    cache = dtypes.get("kv")
    if not other and entry.operator in OF_CACHE and cache != dtypes.get("activation"):
        other = f" over a cache in {cache}"
    return f"{name} {entry.mape_percent:.1f} %{other}"


def _rest(unvalidated: list[str], host: bool, engine: ServingEngine | None) -> str:
    """What nobody has compared; ``host`` says whether servers of the engine were."""
    missing = [SHORT.get(name, name) for name in unvalidated]
    rest = ""
    if not host and engine is None:
        if not missing:
            return "; the host's time is not validated"
        missing.append("the host's time")
    if missing:
        rest = f"; not validated: {', '.join(missing)}"
    if not host and engine is not None:
        rest += f"; servers of {engine.name} were not measured on this chip with such a model and "
        rest += "data type"
    return rest


def accuracy_json(entries: Sequence[Validated]) -> list[dict[str, Any]]:
    """One object a comparison; an empty list where there was none."""
    return [
        {
            **({"chip": entry.chip} if entry.chip else {}),
            "operator": entry.operator,
            "dtype": entry.dtype,
            "table": entry.table,
            "count": entry.count,
            "mape_percent": entry.mape_percent,
        }
        for entry in entries
    ]


def unvalidated_json(pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """One object an operator that the model has and nobody compared."""
    return [{**({"chip": chip} if chip else {}), "operator": name} for chip, name in pairs]
