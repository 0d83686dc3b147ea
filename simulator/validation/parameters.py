"""The parameters that ``chipsim calibrate`` may fit: each a named, physical value of a file.

A path that a file cannot have (an ``efficiency`` beside a DRAM preset, a tile's overhead on a
tensor core) is passed over. The latency of HBM is none of them: every operator pays it together
with its overhead, so that measurements cannot tell the two apart; nor are ``step`` and ``feed`` of
the matrix kernels, which hold for a family of chips. ``neutral`` is the value at which the effect
is gone, for the ablation.
"""

from __future__ import annotations

from dataclasses import dataclass

ATTENTION = ("attention-decode", "attention-prefill")
FUSED = (*ATTENTION, "moe")
ON_CHIP = ("matmul", "copy", *FUSED)
SCALES = {
    "": 1.0,
    "ns": 1e3,
    "us": 1e6,
    "GB/s": 1e9,
    "TB/s": 1e12,
    "pJ": 1.0,
    "W": 1.0,
    "MB": 1e6,
}
"""Base units (ps, B/s, pJ, W, bytes) of each unit that a parameter is written in."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that may be fitted, between ``low`` and ``high`` in ``unit``.

    ``kind`` is the matrix unit that has it; with ``must_exist`` a file without it keeps without.
    """

    path: str
    unit: str
    low: float
    high: float
    neutral: float | None
    meaning: str
    operators: tuple[str, ...] = ON_CHIP
    kind: str | None = None
    must_exist: bool = False

    @property
    def root(self) -> str:
        """``chip`` or ``system``: the file that has it."""
        return self.path.split(".")[0]

    def override(self, value: float) -> str:
        """``PATH=VALUE`` as ``--set`` takes it."""
        return f"{self.path}={self.text(value)}"

    def text(self, value: float) -> str:
        """The value as a file has it."""
        # times are whole picoseconds
        rounded = round(float(f"{value:.4g}"), {"ns": 3, "us": 6}.get(self.unit, 12))
        return f"{rounded:.10g} {self.unit}".strip()


PARAMETERS = (
    Parameter("chip.operator_overhead", "us", 0.05, 20, 0.0, "launch and tail of an operator"),
    Parameter(
        "chip.tile_overhead",
        "ns",
        0.01,
        1000,
        0.0,
        "a step of the software pipeline",
        ("matmul",),
        kind="SystolicArray",
    ),
    Parameter(
        "chip.sustained_clock",
        "",
        0.4,
        1.0,
        1.0,
        "clock under load as a share of the data sheet's",
        kind="SystolicArray",
    ),
    Parameter(
        "chip.hbm.efficiency", "", 0.5, 1.0, 1.0, "share of the HBM bandwidth that a stream gets"
    ),
    Parameter(
        "chip.sram.bandwidth",
        "TB/s",
        1,
        40,
        1000,
        "what L2 delivers to all multiprocessors",
        kind="TensorCore",
    ),
    Parameter(
        "chip.matrix.kernels.tile",
        "us",
        0.05,
        10,
        0.0,
        "first operands and results of an output tile on their way",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.issue_efficiency",
        "",
        0.4,
        1.0,
        1.0,
        "share of the peak rate at which a full pipeline issues",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.split",
        "us",
        0.1,
        20,
        0.0,
        "waiting for partial sums where the inner dimension is cut",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.ramp",
        "us",
        0.05,
        10,
        0.0,
        "until memory delivers its full rate",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.stream",
        "TB/s",
        0.5,
        40,
        1000,
        "what L2 delivers of lines that are read once",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.store",
        "GB/s",
        50,
        5000,
        1_000_000,
        "at which kernels that do not split write results",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.split_ratio",
        "",
        0.1,
        10,
        0.0,
        "inner dimension over the longer side from which kernels split",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.matrix.kernels.mac_energy",
        "pJ",
        0.1,
        10,
        0.0,
        "energy of a multiply-accumulate, which sets the clock under the power limit",
        ("matmul",),
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.launch",
        "us",
        0.5,
        50,
        0.0,
        "launch and tail of an attention operator",
        ATTENTION,
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.kernel_launch",
        "us",
        0.05,
        20,
        0.0,
        "each further kernel of such an operator",
        ATTENTION,
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.tile_latency",
        "us",
        0.01,
        20,
        0.0,
        "a tile from its first load to its last store",
        ATTENTION,
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.sm_bandwidth",
        "GB/s",
        5,
        1000,
        None,
        "what one multiprocessor streams",
        FUSED,
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.softmax_efficiency",
        "",
        0.2,
        1.0,
        1.0,
        "share of its exponentials that a multiprocessor reaches in attention",
        ATTENTION,
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.matrix_efficiency",
        "",
        0.2,
        1.0,
        1.0,
        "share of the peak rate in attention",
        ATTENTION,
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.expert_launch",
        "us",
        0.5,
        100,
        0.0,
        "launches and tails of all kernels of an expert layer",
        ("moe",),
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.narrow_expert_launch",
        "us",
        0.5,
        100,
        0.0,
        "the same of experts with activations of 8 bits, where another library runs them",
        ("moe",),
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.expert_efficiency",
        "",
        0.1,
        1.0,
        1.0,
        "share of the peak rate in grouped matmuls",
        ("moe",),
        must_exist=True,
    ),
    Parameter(
        "chip.fused_kernels.stream_efficiency",
        "",
        0.3,
        1.0,
        1.0,
        "share of the HBM bandwidth that these kernels get",
        FUSED,
        must_exist=True,
    ),
    Parameter(
        "system.fabric.collective_overhead",
        "us",
        0.1,
        50,
        0.0,
        "launch and synchronisation of a collective",
        ("collective",),
    ),
    Parameter(
        "system.fabric.hop_latency", "us", 0.05, 10, 0.0, "one step between chips", ("collective",)
    ),
    Parameter(
        "system.fabric.in_network_efficiency",
        "",
        0.2,
        1.0,
        None,
        "share of the link rate in reductions inside the switch",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.fabric.in_network_startup",
        "us",
        0.1,
        200,
        0.0,
        "start of a reduction inside the switch",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.fabric.protocols.low_latency.efficiency",
        "",
        0.05,
        1.0,
        1.0,
        "share of the link rate that flags leave",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.fabric.protocols.low_latency.peer_bandwidth",
        "GB/s",
        0.5,
        100,
        None,
        "one channel to one peer in an all-to-all",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.fabric.protocols.bandwidth.startup",
        "us",
        0.1,
        100,
        0.0,
        "filling the pipeline of the bandwidth protocol",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.fabric.protocols.bandwidth.efficiency",
        "",
        0.2,
        1.0,
        1.0,
        "share of the link rate that large messages get",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.fabric.engine.launch",
        "us",
        0.1,
        50,
        0.0,
        "launch of the serving engine's own all-reduce",
        ("collective",),
        must_exist=True,
    ),
    Parameter(
        "system.host_overhead",
        "us",
        1,
        20000,
        0.0,
        "the host between two iterations",
        ("server",),
    ),
)
