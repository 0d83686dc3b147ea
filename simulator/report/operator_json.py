"""Prices of single operators as JSON objects, as ``json_out`` has those of steps and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.report.json_out import Json
    from simulator.timing.operator_timing import OperatorTiming
    from simulator.timing.results import MatmulTiming


def op_json(result: MatmulTiming) -> Json:
    """The document ``chipsim.op/1``."""
    return {"schema": "chipsim.op/1", "chip": result.chip, **op_fields(result)}


def op_fields(result: MatmulTiming) -> Json:
    """What ``chipsim op`` says of one matmul, without schema and chip."""
    runner_up: Json | None = None
    if result.runner_up is not None:
        cycles, tile_m, tile_k, tile_n, order = result.runner_up
        tile = {"m": tile_m, "k": tile_k, "n": tile_n}
        runner_up = {"cycles": cycles, "tile": tile, "loop_order": order}
    return {
        "m": result.m,
        "k": result.k,
        "n": result.n,
        "dtype": result.dtype,
        "cycles": result.cycles,
        "compute_cycles": result.compute_cycles,
        "stall_cycles": result.stall_cycles,
        "time_s": result.time_s,
        "bound_by": result.bound_by,
        "utilization": result.utilization,
        "tile": None if result.tile is None else dict(zip("mkn", result.tile, strict=True)),
        "loop_order": result.loop_order,
        "hbm_bytes": result.hbm_bytes,
        "hbm_read_bytes": result.hbm_read_bytes,
        "hbm_write_bytes": result.hbm_write_bytes,
        "sram_bytes": result.sram_bytes,
        "flops": result.flops,
        "clock_hz": result.clock_hz,
        "busy_cycles": dict(result.busy_cycles),
        "limits_cycles": dict(result.limits_cycles),
        "runner_up": runner_up,
    }


def operator_json(result: OperatorTiming) -> Json:
    """The document ``chipsim.op.attention/1`` or ``chipsim.op.moe/1``."""
    return {
        "schema": f"chipsim.op.{result.kind}/1",
        "chip": result.chip,
        **operator_fields(result),
    }


def operator_fields(result: OperatorTiming) -> Json:
    """What ``chipsim op`` says of attention or experts, without schema and chip."""
    return {
        **result.given,
        "cycles": result.cycles,
        "compute_cycles": result.compute_cycles,
        "stall_cycles": result.stall_cycles,
        "time_s": result.time_s,
        "bound_by": result.bound_by,
        "utilization": result.utilization,
        "hbm_bytes": result.hbm_bytes,
        "hbm_read_bytes": result.hbm_read_bytes,
        "hbm_write_bytes": result.hbm_write_bytes,
        "sram_bytes": result.sram_bytes,
        "fabric_bytes": result.fabric_bytes,
        "flops": result.flops,
        "clock_hz": result.clock_hz,
        "busy_cycles": dict(result.busy_cycles),
        "limits_cycles": dict(result.limits_cycles),
    }
