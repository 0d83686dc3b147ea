"""The GPU matmul of docs/gpu.md, written down once more in plain Python, in seconds."""

from __future__ import annotations

import math

from simulator.hardware import Chip, GpuKernels, TensorCore

PARTS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128]


def norm(order: float, *times: float) -> float:
    most = max(times)
    return float(most * sum((time / most) ** order for time in times) ** (1 / order))


def lost(capacity: float, touched: float) -> float:
    """Share that a cache has lost since so many bytes were touched."""
    return 1 / (1 + (capacity / touched) ** 12)


NAMES = {2: "bf16", 1: "int8", 0.5: "fp4"}
"""Data types by the bytes of an element."""

SCALED_STEP_S, SCALED_MACS, SCALED_ENERGY = 108e-9, 8660, 0.33
"""Of 4 bits, whose elements share scales (configs/libraries/nvfp4.yaml)."""


def unsplit_kernels(gpu: GpuKernels, size: float) -> bool:
    """Whether the kernels of elements of ``size`` bytes choose their tile by the rows alone."""
    return NAMES[size] in gpu.unsplit


def with_scales(size: float) -> float:
    """Bytes of an element with its sixteenth of a scale."""
    return size + 1 / 16 if size == 0.5 else size


def tiles_s(
    chip: Chip, unit: TensorCore, gpu: GpuKernels, shape: tuple[int, int, int], size: float
) -> float:
    """Seconds of the best output tile and split of the inner dimension."""
    m, k, n = shape
    depth = int(unit.tile_k * 2 / size)
    issued = gpu.issue_efficiency
    if size == 1 and gpu.eight_bit_issue is not None:
        issued = gpu.eight_bit_issue
    rate = unit.macs_per_sm[NAMES[size]] * chip.sustained_clock_hz * issued
    found = []
    unsplit = unsplit_kernels(gpu, size)
    own, least = with_scales(size), SCALED_STEP_S if size == 0.5 else gpu.step_ps * 1e-12
    wanted = 0
    if unsplit and m > 64:
        areas = [rows * cols for rows, cols in gpu.tiles]
        wanted = min((2 if m <= gpu.narrow_rows else 4) * areas[0], areas[-1])
    longest = k
    if gpu.split_ratio and not unsplit:
        longest = min(k, max(1, int(max(m, n) * gpu.split_ratio)))
    for rows, cols in gpu.tiles:
        if rows * cols < wanted:
            continue
        multiplied = rows
        while unsplit and not gpu.persistent and multiplied > 16 and multiplied >= 2 * m:
            multiplied //= 2
        blocks = math.ceil(m / rows) * math.ceil(n / cols)
        real = min(rows, m), min(cols, n)
        for fewer, parts in zip((0, *PARTS), PARTS, strict=False):
            if parts > 1 and (unsplit or size == 0.5):
                break
            if parts > 1 and (blocks * parts > 2 * unit.count or fewer * depth >= k):
                break
            if parts > 1 and gpu.split_ratio and longest == k:
                break
            share = blocks * parts / unit.count
            waves = norm(4, 1, share)
            if not gpu.persistent:
                waves = max(1, share + (1 if gpu.in_step else 0.5) * (math.ceil(share) - share))
            part = math.ceil(k / parts)
            steps = math.ceil(part / depth)
            feed = sum(real) * depth * own / gpu.feed_bytes_per_s
            issued = multiplied * cols * depth
            if size == 0.5:
                feed = max(feed, issued / (SCALED_MACS * chip.sustained_clock_hz))
            step = norm(4, issued / rate, max(feed, least))
            out = real[0] * real[1] * (2 if size == 0.5 else size) / gpu.feed_bytes_per_s
            time = waves * (steps * step + gpu.tile_ps * 1e-12 + out)
            if gpu.in_step:
                first = blocks * parts * sum(real) * own * min(part, depth)
                start = gpu.tile_ps * 1e-12
                filled = steps if parts > 1 else math.ceil(2 * part / depth) / 2
                time = max(1, waves * filled) * step + max(0, start - step)
                fastest = chip.sram.bandwidth_bytes_per_s
                time += min(start, first / min(fastest, gpu.stream_bytes_per_s or fastest))
                pulled = blocks * parts * part * sum(real) * own
                time = norm(4, time, pulled / chip.sram.bandwidth_bytes_per_s)
            if parts > 1:
                sums = blocks * parts * real[0] * real[1] * 4
                time += gpu.split_ps * 1e-12 + sums / chip.sram.bandwidth_bytes_per_s
            found.append(time)
    if longest < k and size != 0.5:
        return max(min(found), tiles_s(chip, unit, gpu, (m, longest, n), size))
    return min(found)


def matmul_s(chip: Chip, m: int, k: int, n: int, size: float = 2, copies: int = 0) -> float:
    """Seconds of C[m,n] = A[m,k] B[k,n] with elements of ``size`` bytes."""
    unit = chip.matrix
    assert isinstance(unit, TensorCore) and unit.kernels is not None
    gpu = unit.kernels
    result = m * n * (2 if size == 0.5 else size)
    weights, others = k * n * with_scales(size), m * k * with_scales(size) + result
    of_weights = of_others = 1.0
    if copies:
        capacity = int(chip.sram.capacity_bytes / (1 + (gpu.l2_partitions - 1) / 3))
        of_weights = lost(capacity, copies * weights + others)
        of_others = lost(capacity, weights + others)
    near = 1 / chip.sram.bandwidth_bytes_per_s
    once = max(near, 1 / (gpu.stream_bytes_per_s or chip.sram.bandwidth_bytes_per_s))
    far = 1 / chip.hbm.sustained_bytes_per_s
    missed = weights * of_weights + others * of_others
    stream = (weights + others - result) * once
    stream += weights * of_weights * max(0, far - once)
    stream += of_others * (others - result) * max(0, far - once)
    after = max(2 * result * near, of_others * result * far) if gpu.in_step else 0
    if gpu.in_step and gpu.store_bytes_per_s and unsplit_kernels(gpu, size):
        after = max(after, result / gpu.store_bytes_per_s)
    if not gpu.in_step:
        stream += 2 * result * once + of_others * result * max(0, far - 2 * once)
    ramp = gpu.ramp_ps * 1e-12
    memory = stream + (ramp * (1 - math.exp(-stream / ramp)) if ramp else 0)
    tiles = tiles_s(chip, unit, gpu, (m, k, n), size)
    if chip.power.tdp_w is not None:
        share = SCALED_ENERGY if size == 0.5 else (8 * size + 2.6) / 18.6
        joule = m * k * n * gpu.mac_pj * share * 1e-12 + missed * 50e-12
        energy = joule / (0.85 * chip.power.tdp_w)
        if energy > tiles:
            fourth = (tiles / 800e-6) ** 4
            tiles += (energy - tiles) * fourth / (1 + fourth)
    fixed = (chip.operator_overhead_ps + chip.hbm.latency_ps) * 1e-12
    time = norm(2.5, tiles, memory)
    if m == 1 and not gpu.persistent and not unsplit_kernels(gpu, size) and size != 0.5:
        time = min(time, memory + gpu.tile_ps * 1e-12 + k / 1024 * 0.29e-6)
    return fixed + time + after
