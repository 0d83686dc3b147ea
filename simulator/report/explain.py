"""``--explain``: how each figure came about, with its formula, its limit and the values put in.

An explanation is data first (``figure``, ``formula``, ``values`` with units in the keys and, for
configuration values, the path that ``--set`` would take) and text second.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.report.console import PLAIN_WIDTH as WIDTH
from simulator.report.figures import bytes_text, count, duration, percent, scaled

if TYPE_CHECKING:
    from simulator.hardware import System


@dataclass(frozen=True, slots=True)
class Explanation:
    """One figure: ``formula`` in words, ``values`` put in, and the line a person reads."""

    figure: str
    formula: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The entry of the ``explain`` list."""
        return {
            "figure": self.figure,
            "formula": self.formula,
            "values": dict(self.values),
            "text": self.text,
        }

    def as_lines(self) -> list[str]:
        """The figure and its formula, and below them the numbers."""
        lines = _wrapped(f"{self.figure} = {self.formula}", "", "  ")
        if self.text:
            lines += _wrapped(self.text, "    ", "    ")
        config = [f"{key} = {value}" for key, value in self.values.items() if "." in key]
        if config:
            lines += _wrapped(f"from {', '.join(config)}", "    ", "    ")
        return lines


def _wrapped(text: str, first: str, following: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=following, break_on_hyphens=False
    )


def explanations_text(explanations: Sequence[Explanation]) -> str:
    """The text that follows the tables."""
    lines = ["How these figures came about"]
    for explanation in explanations:
        lines += ["", *explanation.as_lines()]
    return "\n".join(lines)


def quotient(
    figure: str, formula: str, top: str, bottom: Sequence[str], result: str, values: Any
) -> Explanation:
    """An explanation of the form ``top / (a x b x c) = result``."""
    return Explanation(figure, formula, f"= {top} / ({' x '.join(bottom)}) = {result}", values)


def mfu(value: float, flops: int, time_s: float, peak: int, chips: int, dtype: str) -> Explanation:
    """Model FLOPs over what the chips could have done in the time."""
    return quotient(
        "MFU",
        "FLOPs of the model / (time x peak x chips); the model's FLOPs are 2 x matmul parameters "
        "x tokens + 2 x vocabulary x hidden x logit positions + 4 x layers x heads x head dim x "
        "unmasked query-key pairs",
        scaled(flops, "FLOP"),
        [f"{time_s:.6g} s", scaled(peak, "FLOP/s"), f"{chips}"],
        percent(value),
        {"flops": flops, "time_s": time_s, "peak_flops_per_s": peak, "chips": chips}
        | {"activation_dtype": dtype},
    )


def mbu(value: float, least: int, time_s: float, bandwidth: int, chips: int) -> Explanation:
    """The bytes that cannot be avoided over what HBM could have moved in the time."""
    return quotient(
        "MBU",
        "(weights + KV cache, each read once an iteration) / (time x HBM bandwidth x chips)",
        bytes_text(least),
        [f"{time_s:.6g} s", scaled(bandwidth, "B/s"), f"{chips}"],
        percent(value),
        {"min_bytes": least, "time_s": time_s, "chips": chips}
        | {"chip.hbm.bandwidth": scaled(bandwidth, "B/s"), "bandwidth_bytes_per_s": bandwidth},
    )


def peak(chip: Any, dtype: str) -> Explanation:
    """The arithmetic limit of one chip."""
    macs = chip.matrix.macs_per_cycle(dtype)
    values: dict[str, Any] = {"macs_per_cycle": macs, "clock_hz": chip.clock_hz, "dtype": dtype}
    for name in ("rows", "cols", "count"):
        if hasattr(chip.matrix, name):
            values[f"chip.matrix.{name}"] = getattr(chip.matrix, name)
    return Explanation(
        "peak arithmetic of a chip",
        "2 x multiply-accumulates per cycle x clock",
        f"= 2 x {macs:,} x {scaled(chip.clock_hz, 'Hz')} = "
        f"{scaled(chip.peak_flops_per_s(dtype), 'FLOP/s')}",
        values | {"chip.clock": scaled(chip.clock_hz, "Hz")},
    )


def hbm_limit(chip: Any) -> Explanation:
    """What a stream gets from HBM."""
    hbm = chip.hbm
    share = hbm.sustained_bytes_per_s / hbm.bandwidth_bytes_per_s
    origin = {"chip.hbm.efficiency": hbm.efficiency}
    if hbm.preset is not None:
        origin = {"chip.hbm.dram": f"{hbm.preset} (bank-level model; short runs get less)"}
    return Explanation(
        "sustained HBM bandwidth of a chip",
        "peak bandwidth x efficiency of a stream",
        f"= {scaled(hbm.bandwidth_bytes_per_s, 'B/s')} x {share:.4g} = "
        f"{scaled(hbm.sustained_bytes_per_s, 'B/s')}, first word after "
        f"{duration(hbm.latency_ps / 1e12)}",
        {
            "chip.hbm.bandwidth": scaled(hbm.bandwidth_bytes_per_s, "B/s"),
            **origin,
            "chip.hbm.latency": duration(hbm.latency_ps / 1e12),
        },
    )


def sram_limit(chip: Any) -> Explanation:
    """What is shared out of the on-chip memory."""
    sram = chip.sram
    tiles = sram.capacity_bytes * sram.tile_fraction
    return Explanation(
        "SRAM for tiles",
        "capacity x share of double-buffered tiles",
        f"= {bytes_text(sram.capacity_bytes)} x {sram.tile_fraction:g} = {bytes_text(tiles)}, "
        f"moved at {scaled(sram.bandwidth_bytes_per_s, 'B/s')}",
        {
            "chip.sram.capacity": bytes_text(sram.capacity_bytes),
            "chip.sram.bandwidth": scaled(sram.bandwidth_bytes_per_s, "B/s"),
            "chip.sram.tile_fraction": sram.tile_fraction,
        },
    )


def units(utilization: Mapping[str, float], time_s: float, chips: int) -> Explanation:
    """Busy shares of the units."""
    shares = ", ".join(f"{unit} {percent(share)}" for unit, share in utilization.items())
    return Explanation(
        "busy",
        "time in which a unit worked / time, mean over the chips",
        f"over {time_s:.6g} s: {shares}",
        {"time_s": time_s, "chips": chips, **utilization},
    )


def bound(bound_by: Mapping[str, float], time_s: float) -> Explanation:
    """Shares of time by what it was bound by."""
    most = sorted(bound_by.items(), key=lambda item: (-item[1], item[0]))
    shares = ", ".join(f"{cause} {percent(share)}" for cause, share in most if share > 0)
    return Explanation(
        "bound by",
        "an operator's time counts for its busiest unit, or for latency (pipeline fill and drain, "
        "first word, operator overhead) if that unit is idle for more than half of it; the "
        "overhead of an iteration counts for host",
        f"over {time_s:.6g} s: {shares or 'nothing'}",
        {"time_s": time_s, **bound_by},
    )


def memory(memory_bytes: Mapping[str, int], system: Any) -> Explanation:
    """What is left of HBM for the KV cache, or beside it."""
    hbm = system.chip.hbm.capacity_bytes
    parts = {name: bytes_text(size) for name, size in memory_bytes.items()}
    inputs = {
        "chip.hbm.capacity": bytes_text(hbm),
        **_reserve(system),
        **{f"{name}_bytes": size for name, size in memory_bytes.items()},
    }
    if "free" in memory_bytes:
        used = [text for name, text in parts.items() if name != "free"]
        return Explanation(
            "free HBM of a chip",
            "HBM capacity - weights - KV cache of the batch - activations - buffers - reserve",
            f"= {' - '.join([bytes_text(hbm), *used])} = {parts['free']}",
            inputs,
        )
    taken = [parts[name] for name in ("weights", "activations", "reserve") if name in parts]
    return Explanation(
        "KV cache of a chip",
        "HBM capacity - weights - activations - reserve, in whole blocks",
        f"= {' - '.join([bytes_text(hbm), *taken])} = {parts.get('kv', '?')}",
        inputs,
    )


def _reserve(system: Any) -> dict[str, Any]:
    """What the reserve follows from."""
    engine = system.engine
    if engine is None or engine.kv_memory is None:
        return {"system.hbm_reserve_fraction": system.hbm_reserve_fraction}
    return {"engine.kv_memory": engine.kv_memory}


def ratio(figure: str, formula: str, top: float, unit: str, time_s: float) -> Explanation:
    """A number of things per second."""
    each = top / time_s if time_s > 0 else None
    result = "-" if each is None else f"{each:,.6g} {unit}/s"
    number = count(top, unit)
    return Explanation(
        figure,
        formula,
        f"= {number} / {time_s:.6g} s = {result}",
        {unit.replace(" ", "_"): top, "time_s": time_s},
    )


def host(system: System) -> Explanation:
    """What the host takes for an iteration."""
    values = host_values(system)
    formula = "overhead of the serving loop, once an iteration"
    if system.engine is not None:
        formula += ", and for each sequence in it"
    return Explanation("host", formula, f"= {' + '.join(values.values())}", values)


def host_values(system: System) -> dict[str, str]:
    """The configuration values that the host's time is made of."""
    engine = system.engine
    if engine is None:
        return {"system.host_overhead": duration(system.host_overhead_ps / 1e12)}
    return {
        "engine.iteration": duration(engine.iteration_ps / 1e12),
        "engine.sequence": f"{duration(engine.sequence_ps / 1e12)} a sequence",
    }
