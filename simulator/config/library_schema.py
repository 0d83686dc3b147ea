"""Schemas of the files of kernel libraries (``configs/libraries``), one for each library.

A value's key is its field in ``simulator.hardware.kernel_libraries``, which says what it means; its
type says between which bounds it makes sense.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from simulator.config.fields import Bytes, Count, Delay, EnergyPj, Name, Quantity, Section
from simulator.hardware.kernel_libraries import LIBRARY_TYPES, AllReduce, AllReduceKernel

LibraryName = Literal[
    "triton-experts",
    "cutlass-experts",
    "trtllm-experts",
    "marlin",
    "openai-experts",
    "cublas",
    "nvfp4",
    "quantization",
    "fused-attention",
    "all-reduce",
]

Order = Annotated[
    float,
    BeforeValidator(Quantity("fraction", at_least=1, at_most=64, range_text="an order of 1 to 64")),
]
Share = Annotated[
    float, BeforeValidator(Quantity("fraction", at_least=0.001, at_most=1, range_text="0.001 to 1"))
]
Multiple = Annotated[
    float,
    BeforeValidator(Quantity("fraction", at_least=0.01, at_most=1000, range_text="0.01 to 1000")),
]
AtLeastOne = Annotated[
    float, BeforeValidator(Quantity("fraction", at_least=1, at_most=1000, range_text="1 to 1000"))
]
Boost = Annotated[
    int,
    BeforeValidator(
        Quantity("time", at_least=10**6, at_most=10**12, range_text="1 us to 1 s"),
    ),
]
# a block of 512 threads fits the 65,536 registers of a multiprocessor
Registers = Annotated[
    int,
    BeforeValidator(Quantity("count", at_least=1, at_most=128, range_text="at most 128")),
]
# half of an L2 whose two partitions hold copies of all of each other's lines
Kept = Annotated[
    float, BeforeValidator(Quantity("fraction", at_least=0.5, at_most=1, range_text="0.5 to 1"))
]
# of a ratio, in the form r^n / (1 + r^n)
WholeOrder = Annotated[
    int,
    BeforeValidator(Quantity("count", at_least=1, at_most=64, range_text="an order of 1 to 64")),
]
Hops = Annotated[
    float, BeforeValidator(Quantity("fraction", at_least=0, at_most=1000, range_text="0 to 1000"))
]
Passes = Annotated[
    int, BeforeValidator(Quantity("count", at_least=0, at_most=64, range_text="at most 64"))
]
Launches = Annotated[
    int, BeforeValidator(Quantity("count", at_least=1, at_most=64, range_text="1 to 64"))
]
Macs = Annotated[int, BeforeValidator(Quantity("count", at_most=2**20))]


class LibraryConfig(Section):
    """A file of a library; ``kernels`` says whose values it has."""

    kind: Literal["library"]
    name: Name
    kernels: LibraryName

    def build(self) -> Any:
        """The specification, as ``hardware.kernel_libraries`` has it."""
        kind = LIBRARY_TYPES[self.kernels]
        keys = (field.removesuffix("_ps").removesuffix("_pj") for field in kind._fields)
        values = (getattr(self, key) for key in keys)
        return kind(*values)


class TritonExpertsConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.TritonExperts``."""

    overlap_order: Order
    sharers: AtLeastOne
    wave_loss: Share
    cluster_tiles: AtLeastOne
    kept_ramp: Share
    promotion_ops: Multiple


class CutlassExpertsConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.CutlassExperts``."""

    overlap_order: Order
    latencies: Multiple
    launch: Delay


class TrtllmExpertsConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.TrtllmExperts``."""

    overlap_order: Order
    scaled: Delay
    gated: Delay
    absent: Delay
    route: Delay
    summed_share: Share
    blocks_launch: Delay


class MarlinConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.Marlin``."""

    macs: Macs
    integers: Multiple
    floats: Multiple
    overlap_order: Order
    latencies: Multiple
    fullest: Share
    launch: Delay


class OpenaiExpertsConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.OpenaiExperts``."""

    weight_bits: Multiple
    shared_launch: Delay


class CublasConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.Cublas``."""

    overlap_order: Order
    l2_write_cost: AtLeastOne
    boost: Boost
    boost_order: WholeOrder
    trip: Delay
    replay: Delay
    wave_loss: Share
    l2_kept: Kept
    l2_edge_order: WholeOrder
    switching_share: Share
    hbm_byte: EnergyPj
    accumulator_bits: Multiple


class Nvfp4Config(LibraryConfig):
    """See ``hardware.kernel_libraries.Nvfp4``."""

    step: Delay
    macs: Macs
    mac_energy: Share


class QuantizationConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.Quantization``."""

    gap: Delay
    row: Delay
    further: Delay
    pass_elements: Count
    group: Delay
    resident_rows: AtLeastOne


class FusedAttentionConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.FusedAttention``."""

    scan: Delay
    update: Delay
    update_eight_bit: Delay
    update_registers: Registers
    rounded_elements: Multiple
    small_kernel: Delay
    warm_ramp: Share
    overlap_order: Order
    ahead_overlap_order: Order
    softmax_overlap_order: Order
    exponentials: Count
    transposed_bytes: Multiple
    result_sums: Count
    cluster_tiles: AtLeastOne
    generic_elements: Multiple
    converted_elements: Multiple
    wave_loss: Share


class AllReduceKernelConfig(Section):
    """See ``hardware.kernel_libraries.AllReduceKernel``."""

    hops: Hops
    hops_per_rank: Hops = 0.0
    launches: Launches = 1
    copies: Passes = 0
    window: Bytes | None = None

    def build(self) -> AllReduceKernel:
        """The kernel's figures."""
        return AllReduceKernel(
            self.hops, self.hops_per_rank, self.launches, self.copies, self.window or 0
        )


class AllReduceConfig(LibraryConfig):
    """See ``hardware.kernel_libraries.AllReduce``."""

    round_trip: Multiple
    pull_one_shot: AllReduceKernelConfig
    pull_two_shot: AllReduceKernelConfig
    push_one_shot: AllReduceKernelConfig
    short_two_shot: AllReduceKernelConfig
    lamport_one_shot: AllReduceKernelConfig
    ordered_one_shot: AllReduceKernelConfig
    staged_two_shot: AllReduceKernelConfig
    symmetric_two_shot: AllReduceKernelConfig
    multicast: AllReduceKernelConfig

    def build(self) -> AllReduce:
        """The specification."""
        kernels = (getattr(self, field).build() for field in AllReduce._fields[1:])
        return AllReduce(self.round_trip, *kernels)


SCHEMAS: dict[str, type[LibraryConfig]] = {
    "triton-experts": TritonExpertsConfig,
    "cutlass-experts": CutlassExpertsConfig,
    "trtllm-experts": TrtllmExpertsConfig,
    "marlin": MarlinConfig,
    "openai-experts": OpenaiExpertsConfig,
    "cublas": CublasConfig,
    "nvfp4": Nvfp4Config,
    "quantization": QuantizationConfig,
    "fused-attention": FusedAttentionConfig,
    "all-reduce": AllReduceConfig,
}
"""Schemas by the name of a library."""


def own_keys(library: str) -> list[str]:
    """The keys of a library's values, those that every library's file has left out."""
    return [key for key in SCHEMAS[library].model_fields if key not in LibraryConfig.model_fields]
