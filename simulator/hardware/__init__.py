"""Frozen specifications of the machine: one noun a file."""

from simulator.hardware.chip import (
    RUN_CLASSES,
    SHORTEST_RUN_BYTES,
    Chip,
    Dram,
    Energy,
    LinkPort,
    Power,
    Sram,
    Validated,
    VectorUnit,
)
from simulator.hardware.fabric import Fabric, Pod, Protocol
from simulator.hardware.fused_kernels import FusedKernels
from simulator.hardware.gpu_kernels import GpuKernels
from simulator.hardware.kernel_libraries import KernelLibraries
from simulator.hardware.matrix_unit import MatrixUnit, SystolicArray, TensorCore, rate_of
from simulator.hardware.serving_engine import EngineAttention, ServingEngine
from simulator.hardware.system import System

__all__ = [
    "RUN_CLASSES",
    "SHORTEST_RUN_BYTES",
    "Chip",
    "Dram",
    "Energy",
    "EngineAttention",
    "Fabric",
    "FusedKernels",
    "GpuKernels",
    "KernelLibraries",
    "LinkPort",
    "MatrixUnit",
    "Pod",
    "Power",
    "Protocol",
    "ServingEngine",
    "Sram",
    "System",
    "SystolicArray",
    "TensorCore",
    "Validated",
    "VectorUnit",
    "rate_of",
]
