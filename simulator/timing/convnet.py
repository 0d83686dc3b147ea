"""A forward pass of a convolutional network: its lowered matmuls, one after the other.

Each is priced as ``chipsim op matmul`` prices it, operands and results in HBM. Normalisations are
folded into the weights and activations run with the matmul before them, as compilers do for
inference; pooling and the sums of residual blocks are left out.
"""

from __future__ import annotations

from collections import Counter

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import Chip, System
from simulator.mapping.memory import BITS
from simulator.model.convnet import ConvNet, Convolution
from simulator.timing.energy import energy_basis, energy_j
from simulator.timing.operator import price_matmuls
from simulator.timing.results import CAUSES, UNITS, MatmulTiming, OperatorSpan, StepTiming
from simulator.units import format_bytes


def price_images(system: System, net: ConvNet, batch: int, dtype: str = "bf16") -> StepTiming:
    """One pass of ``batch`` images; chips share them evenly, and the fullest sets the time.

    Raises InputError for a batch below 1, for a system with a serving engine and a dtype that the
    chip has no rate for, InfeasibleError where weights and activations do not fit HBM.
    """
    if batch < 1:
        raise InputError(f"--batch must be at least 1, found {batch}")
    if system.engine is not None:
        raise InputError(
            f"{net.name} is a convolutional network, which {system.engine.name} does not serve",
            hint="leave --engine out",
        )
    chips = system.chips
    share = -(-batch // chips)
    memory = _memory(system, net, share, dtype)
    cases = [(share * x.rows, x.k, x.outputs, dtype) for x in net.convolutions]
    timings = price_matmuls(system.chip, cases)
    spans = _spans(net.convolutions, timings)
    busy_ps = [sum(span.busy_ps[i] for span in spans) for i in range(len(UNITS))]
    time_ps = spans[-1].end_ps + system.host_overhead_ps
    causes = Counter[str]()
    for span in spans:
        causes[span.bound_by] += span.duration_ps
    causes["host"] += system.host_overhead_ps
    chip, seconds = system.chip, time_ps / 1e12
    flops = net.flops(batch)
    least = min(chips, batch) * net.matmul_parameters * BITS[dtype] // 8
    traffic = {
        "hbm_read": round(sum(span.hbm_read_bytes for span in spans) * batch / share),
        "hbm_write": round(sum(span.hbm_write_bytes for span in spans) * batch / share),
        "fabric": 0,
    }
    return StepTiming(
        system=system.name,
        model=net.name,
        phase="prefill",
        batch=batch,
        context=1,
        tp=1,
        replicas=chips,
        dtypes={"weight": dtype, "activation": dtype},
        tokens=batch,
        time_ps=time_ps,
        host_ps=system.host_overhead_ps,
        flops=flops,
        min_bytes=least,
        mfu=flops / (seconds * chip.peak_flops_per_s(dtype) * chips),
        mbu=least / (seconds * chip.hbm.bandwidth_bytes_per_s * chips),
        utilization={unit: busy_ps[i] / time_ps for i, unit in enumerate(UNITS)},
        bound_by={cause: causes[cause] / time_ps for cause in CAUSES},
        traffic_bytes=traffic,
        memory_bytes=memory,
        operators=tuple(spans),
        energy_basis=energy_basis([chip]),
        energy_j=energy_j(
            chip,
            dtype,
            flops=flops,
            vector_ops=0,
            sram_bytes=_sram_bytes(chip, busy_ps) * batch / share,
            traffic=traffic,
            chip_seconds=seconds * chips,
        ),
        notes=("a token of this step is an image",),
    )


def _sram_bytes(chip: Chip, busy_ps: list[int]) -> float:
    return busy_ps[UNITS.index("sram")] / 1e12 * chip.sram.bandwidth_bytes_per_s


def check_step(
    net: ConvNet, phase: str, context: int, tp: int | None, dtypes: tuple[str, str]
) -> None:
    """InputError for options of a step that mean nothing for images."""
    if phase != "prefill":
        raise InputError(f"{net.name} has no {phase} step", hint="--phase prefill")
    if context != 1:
        raise InputError(f"--context {context}: an image of {net.name} counts as one token")
    if tp not in (None, 1):
        raise InputError(
            f"--tp {tp}: the chips of a convolutional network share the images", hint="--tp 1"
        )
    if len(set(dtypes)) > 1:
        raise InputError(
            f"{net.name} needs one data type, found weights {dtypes[0]} and activations "
            f"{dtypes[1]}",
            hint="--dtype sets both",
        )
    if BITS.get(dtypes[0], 16) < 8:
        raise InputError(f"convolutions have no price in {dtypes[0]}", hint="fp8, int8 or bf16")


def _spans(
    convolutions: tuple[Convolution, ...], timings: list[MatmulTiming]
) -> list[OperatorSpan]:
    spans: list[OperatorSpan] = []
    now = 0
    for layer, timing in zip(convolutions, timings, strict=True):
        duration = -(-timing.cycles * 10**12 // timing.clock_hz)
        busy = tuple(
            min(duration, timing.busy_cycles[unit] * 10**12 // timing.clock_hz) for unit in UNITS
        )
        for index in range(layer.repeat):
            spans.append(
                OperatorSpan(
                    name=f"layer{index}.{layer.name}" if layer.repeat > 1 else layer.name,
                    kind="matmul",
                    detail=f"{timing.m}x{timing.k}x{timing.n}",
                    start_ps=now,
                    end_ps=now + duration,
                    busy_ps=busy,
                    bound_by=timing.bound_by,
                    flops=timing.flops,
                    hbm_read_bytes=timing.hbm_read_bytes,
                    hbm_write_bytes=timing.hbm_write_bytes,
                    fabric_bytes=0,
                    fetch_bytes=0,
                    fetch_start_ps=now,
                    fetch_ps=0,
                )
            )
            now += duration
    return spans


def _memory(system: System, net: ConvNet, images: int, dtype: str) -> dict[str, int]:
    """Bytes of one chip's HBM: weights, and the widest lowered input with its result."""
    if dtype not in BITS:
        raise InputError(f"unknown dtype '{dtype}'", hint=f"known: {', '.join(BITS)}")
    widest = max(x.rows * (x.k + x.outputs) for x in net.convolutions)
    weights = -(-net.parameters * BITS[dtype] // 8)
    activations = -(-images * widest * BITS[dtype] // 8)
    capacity = system.chip.hbm.capacity_bytes
    reserve = int(capacity * system.hbm_reserve_fraction)
    left = capacity - reserve - weights - activations
    if left < 0:
        raise InfeasibleError(
            f"{images} images of {net.name} a chip do not fit {system.name}: weights "
            f"{format_bytes(weights)} and activations {format_bytes(activations)} exceed the "
            f"{format_bytes(capacity - reserve)} that HBM leaves, by {format_bytes(-left)}",
            hint="smaller batches, or more chips",
        )
    return {
        "weights": weights,
        "kv": 0,
        "activations": activations,
        "reserve": reserve,
        "free": left,
    }
