"""What can be validated: for each operator its columns, its price, and its least work.

The price of a row comes from ``simulator.api`` and nowhere else; this file only turns columns into
calls. ``work`` counts the arithmetic and the bytes that the row cannot do without, for the
roofline, the regimes and the physical bounds of a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator import api
from simulator.errors import InputError, did_you_mean
from simulator.validation.machine import Machine
from simulator.validation.serving_rows import server_seconds, server_work
from simulator.validation.table import Column, FloatArray

Inputs = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Work:
    """Least flops and bytes of each row of a table, and the peaks that they are held against.

    ``bytes`` pass a path of ``bytes_per_s`` (HBM, or the links of a chip); of those
    ``cached_bytes`` at most may still lie in a cache from the run before.
    """

    flops: FloatArray
    bytes: FloatArray
    flops_per_s: float
    bytes_per_s: float
    cached_bytes: float = 0.0

    @property
    def compute_s(self) -> FloatArray:
        """Seconds of arithmetic at the peak of the data sheet."""
        return self.flops / self.flops_per_s

    @property
    def transfer_s(self) -> FloatArray:
        """Seconds of traffic at the bandwidth of the data sheet."""
        return self.bytes / self.bytes_per_s

    @property
    def roofline_s(self) -> FloatArray:
        """The larger of the two."""
        return np.maximum(self.compute_s, self.transfer_s)

    @property
    def floor_s(self) -> FloatArray:
        """No measurement can be below this: the roofline with a warm cache."""
        cold = np.maximum(0.0, self.bytes - self.cached_bytes)
        return np.maximum(self.compute_s, cold / self.bytes_per_s)


@dataclass(frozen=True, slots=True)
class Operator:
    """How the rows of one operator are read, priced and looked up.

    ``columns`` hold whole numbers, ``words`` names; those in ``defaults`` may be left out of a
    file. ``scales`` are the columns along which a lookup interpolates; rows that differ in any
    other column are strangers to it.
    """

    name: str
    columns: tuple[str, ...]
    price: Callable[[Machine, str, Inputs], FloatArray]
    work: Callable[[Machine, str, Inputs], Work]
    scales: tuple[str, ...]
    words: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that a file has to have."""
        every = (*self.columns, *self.words)
        return tuple(name for name in every if name not in self.defaults)


def dtype_bytes(dtype: str) -> float:
    """Bytes of an element."""
    return {"bf16": 2.0, "fp8": 1.0, "int8": 1.0}[dtype]


def _matmul_seconds(machine: Machine, dtype: str, inputs: Inputs) -> FloatArray:
    sizes = (inputs[name].tolist() for name in ("m", "k", "n"))
    cases = [(m, k, n, dtype) for m, k, n in zip(*sizes, strict=True)]
    return np.array([priced.time_s for priced in api.price_matmuls(machine.chip, cases)])


def _matmul_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    m, k, n = (inputs[name].astype(float) for name in ("m", "k", "n"))
    moved = dtype_bytes(dtype) * (m * k + k * n) + 2 * m * n
    return _work(machine, dtype, 2 * m * k * n, moved)


def _copy_seconds(machine: Machine, _dtype: str, inputs: Inputs) -> FloatArray:
    sizes = inputs["bytes"].tolist()
    return np.array([priced.time_s for priced in api.price_copies(machine.chip, sizes)])


def _copy_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    return _work(machine, dtype, np.zeros(len(inputs["bytes"])), 2.0 * inputs["bytes"])


def _collective_seconds(machine: Machine, _dtype: str, inputs: Inputs) -> FloatArray:
    rows = zip(*(inputs[n].tolist() for n in ("ranks", "op", "bytes", "engine")), strict=True)
    return np.array(
        [
            api.price_collective(
                machine.system(ranks).fabric,
                op,
                size,
                algorithm="engine" if engine else "auto",
            ).time_s
            for ranks, op, size, engine in rows
        ]
    )


SHARES = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "all-to-all": 1.0}
"""How often a rank's buffer passes its links, but for the part that stays at home."""


def _collective_work(machine: Machine, _dtype: str, inputs: Inputs) -> Work:
    counts = np.array([float(np.prod([int(a) for a in r.split("x")])) for r in inputs["ranks"]])
    shares = np.array([SHARES.get(op, 1.0) for op in inputs["op"]])
    moved = shares * inputs["bytes"] * (counts - 1) / counts
    link = machine.chip.link
    rate = link.count * link.bandwidth_bytes_per_s if link else 1.0
    return Work(np.zeros(len(moved)), moved, 1.0, float(rate))


def _work(machine: Machine, dtype: str, flops: FloatArray, moved: FloatArray) -> Work:
    chip = machine.chip
    if dtype not in chip.matrix.dtypes:
        known = ", ".join(chip.matrix.dtypes)
        raise InputError(f"chip '{chip.name}' has no rate for '{dtype}'; it has {known}")
    peak = float(chip.peak_flops_per_s(dtype))
    hbm = float(chip.hbm.bandwidth_bytes_per_s)
    return Work(flops, moved, peak, hbm, float(chip.sram.capacity_bytes))


def _server_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    flops, moved, chips = server_work(dtype, inputs)
    whole = _work(machine, dtype, flops / chips, moved / chips)
    return Work(whole.flops, whole.bytes, whole.flops_per_s, whole.bytes_per_s)


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator("matmul", ("m", "k", "n"), _matmul_seconds, _matmul_work, ("m", "k", "n")),
        Operator(
            "collective",
            ("bytes",),
            _collective_seconds,
            _collective_work,
            ("bytes",),
            words=("op", "ranks", "engine"),
            defaults={"engine": ""},
        ),
        Operator(
            "server",
            ("batch", "prompt_tokens", "output_tokens", "tp"),
            server_seconds,
            _server_work,
            ("batch", "prompt_tokens", "output_tokens"),
            words=("model",),
        ),
        Operator("copy", ("bytes",), _copy_seconds, _copy_work, ("bytes",)),
    )
}


def find_operator(name: str) -> Operator:
    """The operator of a name; an ``InputError`` that lists them otherwise."""
    if name not in OPERATORS:
        raise InputError(f"unknown operator '{name}'", hint=did_you_mean(name, OPERATORS))
    return OPERATORS[name]
