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
from simulator.hardware import Fabric
from simulator.hardware.fused_kernels import USUAL
from simulator.validation import layer_rows
from simulator.validation.machine import Machine
from simulator.validation.serving_rows import server_seconds, server_work
from simulator.validation.table import FloatArray
from simulator.validation.work import Inputs, Work, chip_work, dtype_bytes


@dataclass(frozen=True, slots=True)
class Operator:
    """How the rows of one operator are read, priced and looked up.

    ``columns`` hold whole numbers, ``words`` names; those in ``defaults`` may be left out of a
    file. ``scales`` are the columns along which a lookup interpolates; rows that differ in any
    other column are strangers to it. ``chips`` is the column with the number of chips, or their
    shape. ``repeats``: equal inputs are measurements of their own (other software), not copies.
    """

    name: str
    columns: tuple[str, ...]
    price: Callable[[Machine, str, Inputs], FloatArray]
    work: Callable[[Machine, str, Inputs], Work]
    scales: tuple[str, ...]
    words: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    chips: str | None = None
    repeats: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that a file has to have."""
        every = (*self.columns, *self.words)
        return tuple(name for name in every if name not in self.defaults)


MATMUL_WAYS = ("buffers", "quantize", "replay", "blocks")
"""How matmuls are measured: copies of the weights, whether activations are quantized, each is
replayed alone, and operands have scales in blocks."""


def _matmul_seconds(machine: Machine, dtype: str, inputs: Inputs) -> FloatArray:
    """By how the rows were measured (``MATMUL_WAYS``)."""
    out = np.empty(len(inputs["m"]))
    ways = np.column_stack([inputs[name] for name in MATMUL_WAYS])
    for way in np.unique(ways, axis=0).tolist():
        buffers, quantize, replay, blocks = way
        rows = np.flatnonzero((ways == way).all(axis=1))
        sizes = np.column_stack([inputs[name][rows] for name in ("m", "k", "n")])
        out[rows] = api.matmul_seconds(
            machine.chip,
            sizes,
            dtype,
            rotating_buffers=buffers,
            quantize=bool(quantize),
            replay=bool(replay),
            blocks=bool(blocks),
        )
    return out


def _matmul_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    m, k, n = (inputs[name].astype(float) for name in ("m", "k", "n"))
    moved = dtype_bytes(dtype) * (m * k + k * n) + 2 * m * n
    return chip_work(machine, dtype, 2 * m * k * n, moved)


def _copy_seconds(machine: Machine, _dtype: str, inputs: Inputs) -> FloatArray:
    sizes = inputs["bytes"].tolist()
    return np.array([priced.time_s for priced in api.price_copies(machine.chip, sizes)])


def _copy_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    return chip_work(machine, dtype, np.zeros(len(inputs["bytes"])), 2.0 * inputs["bytes"])


def _collective_seconds(machine: Machine, _dtype: str, inputs: Inputs) -> FloatArray:
    rows = zip(*(inputs[n].tolist() for n in ("ranks", "op", "bytes", "engine")), strict=True)
    return np.array(
        [
            api.price_collective(
                machine.system(ranks).fabric,
                op,
                size,
                algorithm=_algorithm(machine.system(ranks).fabric, engine),
            ).time_s
            for ranks, op, size, engine in rows
        ]
    )


def _algorithm(fabric: Fabric, engine: str) -> str:
    """That of a row: the library's where no engine is named, the system's if it has no kernels."""
    if not engine:
        return "auto"
    return engine if fabric.engine is not None else "engine"


SHARES = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "all-to-all": 1.0}
"""How often a rank's buffer passes its links, but for the part that stays at home; once where the
switch reduces."""


def _collective_work(machine: Machine, _dtype: str, inputs: Inputs) -> Work:
    counts = np.array([float(np.prod([int(a) for a in r.split("x")])) for r in inputs["ranks"]])
    shares = np.array(
        [
            1.0 if machine.system(ranks).fabric.in_network_efficiency else SHARES.get(op, 1.0)
            for op, ranks in zip(inputs["op"].tolist(), inputs["ranks"].tolist(), strict=True)
        ]
    )
    moved = shares * inputs["bytes"] * (counts - 1) / counts
    link = machine.chip.link
    rate = link.count * link.bandwidth_bytes_per_s if link else 1.0
    return Work(np.zeros(len(moved)), moved, 1.0, float(rate))


def _server_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    flops, moved, chips = server_work(dtype, inputs)
    whole = chip_work(machine, dtype, flops / chips, moved / chips)
    return Work(whole.flops, whole.bytes, whole.flops_per_s, whole.bytes_per_s)


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator(
            "matmul",
            ("m", "k", "n", *MATMUL_WAYS),
            _matmul_seconds,
            _matmul_work,
            ("m", "k", "n"),
            defaults=dict.fromkeys(MATMUL_WAYS, 0),
        ),
        Operator(
            "attention-decode",
            layer_rows.ATTENTION_COLUMNS,
            layer_rows.decode_seconds,
            layer_rows.decode_work,
            ("batch", "heads", "context"),
            defaults={"window": 0, "buffers": 0, "latent": 0},
        ),
        Operator(
            "attention-prefill",
            layer_rows.ATTENTION_COLUMNS,
            layer_rows.prefill_seconds,
            layer_rows.prefill_work,
            ("batch", "heads", "context"),
            defaults={"window": 0, "buffers": 0, "latent": 0},
        ),
        Operator(
            "moe",
            layer_rows.MOE_COLUMNS,
            layer_rows.moe_seconds,
            layer_rows.moe_work,
            ("tokens",),
            words=("expert_load", "weights", "kernels"),
            defaults={
                "tp": 1,
                "ep": 1,
                "buffers": 0,
                "gated": 1,
                "blocks": 0,
                "expert_load": "balanced",
                "weights": layer_rows.SAME,
                "kernels": USUAL,
            },
        ),
        Operator(
            "collective",
            ("bytes",),
            _collective_seconds,
            _collective_work,
            ("bytes",),
            words=("op", "ranks", "engine"),
            defaults={"engine": ""},
            chips="ranks",
        ),
        Operator(
            "server",
            ("batch", "prompt_tokens", "output_tokens", "tp"),
            server_seconds,
            _server_work,
            ("batch", "prompt_tokens", "output_tokens"),
            words=("model", "engine", "kv_dtype"),
            defaults={"engine": "", "kv_dtype": "bf16"},
            chips="tp",
            repeats=True,
        ),
        Operator("copy", ("bytes",), _copy_seconds, _copy_work, ("bytes",)),
    )
}


def find_operator(name: str) -> Operator:
    """The operator of a name; an ``InputError`` that lists them otherwise."""
    if name not in OPERATORS:
        raise InputError(f"unknown operator '{name}'", hint=did_you_mean(name, OPERATORS))
    return OPERATORS[name]
