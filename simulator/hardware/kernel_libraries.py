"""What the kernel libraries of GPUs do, the same on every chip: one specification a library.

Their values stand in ``configs/libraries`` with what they rest on. What differs between chips is in
the chip's own file (``GpuKernels``, ``FusedKernels``). Times are picoseconds; "a multiprocessor" is
one of the chip.
"""

# no annotations from __future__: as texts each would be compiled, 5 ms whenever a command starts
from typing import Any, NamedTuple


class TritonExperts(NamedTuple):
    """Grouped expert matmuls that an engine takes for want of others; what the other libraries do
    not say of theirs is as here.

    ``overlap_order``: order of the norm by which arithmetic and HBM overlap. ``sharers``: tiles
    that a multiprocessor works on at a time, so that it waits for one of so many latencies.
    ``wave_loss``: share of what the last wave of tiles leaves idle that is lost. ``cluster_tiles``:
    neighbouring tiles that load an operand together (thread block clusters, or a shared L1).
    ``kept_ramp``: an expert's matrix is kept in L2 for its next rows up to 1 - ``kept_ramp`` of its
    capacity, one as large as the L2 is not; between, a share that falls evenly.
    ``promotion_ops``: vector operations a result after each block of 128 of the inner dimension,
    where operands have scales in blocks.
    """

    overlap_order: float
    sharers: float
    wave_loss: float
    cluster_tiles: float
    kept_ramp: float
    promotion_ops: float


class CutlassExperts(NamedTuple):
    """Persistent kernels with warps for each task.

    ``overlap_order`` as Triton's. ``latencies`` of a tile that a multiprocessor takes for each.
    ``launch_ps``: launches and tails of a layer on chips that do not say ``narrow_expert_launch``.
    """

    overlap_order: float
    latencies: float
    launch_ps: int


class TrtllmExperts(NamedTuple):
    """trtllm-gen of FlashInfer.

    ``overlap_order`` as Triton's. ``scaled_ps``: a multiprocessor that scales a group of 128
    activations, one after the other. ``gated_ps``: a block that gates and scales a group;
    ``absent_ps``: one that finds that its copy of a token went to another rank. ``route_ps``: an
    assignment that is counted and listed by experts. ``summed_share`` of HBM's time that a row
    takes which is summed. ``blocks_launch_ps``: more launches of a layer with scales in blocks.
    """

    overlap_order: float
    scaled_ps: int
    gated_ps: int
    absent_ps: int
    route_ps: int
    summed_share: float
    blocks_launch_ps: int


class Marlin(NamedTuple):
    """4-bit weights and 16-bit activations in vLLM.

    ``macs``: multiply-accumulates a cycle and multiprocessor. ``integers``, ``floats``: weights of
    4 bits that a multiprocessor converts in a cycle, with scales for 128 or for 32.
    ``overlap_order``: order of the norm by which products and conversions overlap.
    ``latencies`` of a tile, as CUTLASS's. ``fullest``: the smallest tile is taken of which the mean
    load of an expert fills no more than this share. ``launch_ps``: launches and tails of a layer.
    """

    macs: int
    integers: float
    floats: float
    overlap_order: float
    latencies: float
    fullest: float
    launch_ps: int


class OpenaiExperts(NamedTuple):
    """The Triton kernels of gpt-oss, for 4-bit floats and 16-bit activations.

    ``weight_bits`` of which the loads take as long as those of a weight of 4 bits and its
    conversion. ``shared_launch_ps``: more launches of a layer whose experts ranks share.
    """

    weight_bits: float
    shared_launch_ps: int


class Cublas(NamedTuple):
    """Matmuls (cuBLAS and its like), with the power limit under which a benchmark finds them.

    ``overlap_order``: order of the norm that joins the times of a kernel's tiles and of the memory
    beside them: infinity would be perfect overlap, 1 none. ``l2_write_cost``: time of a byte that
    is written to L2 over that of one that is read. ``boost_ps``: length of a kernel at which the
    power limit has taken half of its effect. ``trip_ps``: a block that multiplies one row without
    tensor cores fetches 1,024 elements from L2.
    """

    overlap_order: float
    l2_write_cost: float
    boost_ps: int
    trip_ps: int


class Quantization(NamedTuple):
    """Kernels before a matmul that scale and round its activations.

    ``gap_ps``: what the matmul waits, beyond a launch, for such a kernel to drain. ``row_ps``: a
    block that scales one row of up to ``pass_elements``: two trips to memory and a reduction;
    ``further_ps``: the same again, in part overlapped, for each further ``pass_elements``.
    ``group_ps``: a multiprocessor that scales a group of 128 activations, one after the other.
    """

    gap_ps: int
    row_ps: int
    further_ps: int
    pass_elements: int
    group_ps: int


class FusedAttention(NamedTuple):
    """Attention kernels, and those beside them that they wait for.

    ``scan_ps``: the tile scheduler of FlashAttention-3 looks through 31 sequences, a lane each.
    ``update_ps``: a block of threads that writes the keys and values of one token to the cache;
    ``update_eight_bit_ps``: the same where elements are scaled and rounded to 8 bits, beside the
    rounding itself of ``rounded_elements`` a cycle and multiprocessor, by threads of
    ``update_registers`` each. ``small_kernel_ps``: least time of a small kernel that latent
    attention waits for, launch included, in captured graphs. ``warm_ramp``: a cache of keys that is
    cycled through stays in L2 up to 1 - ``warm_ramp`` / 2 of what L2 keeps of data that is read
    again (its capacity, less what its partitions hold twice), nothing of 1 + ``warm_ramp`` / 2;
    between, a share that falls evenly.

    Orders of norms: ``overlap_order`` of multiprocessors and HBM, ``ahead_overlap_order`` of the
    same where warps of their own load, ``softmax_overlap_order`` of products and softmax where
    other warps compute it. ``exponentials`` of a multiprocessor a cycle. ``transposed_bytes`` of
    8-bit values that it turns round a cycle. ``result_sums`` that a tile keeps beside its scores.
    ``cluster_tiles`` of a prompt that load their keys together. A kernel that takes any head gets
    through ``generic_elements`` of keys and values a cycle and multiprocessor, for each program
    anew. Warps that multiply in 16 bits get ``converted_elements`` of 8-bit keys and values a cycle
    and multiprocessor into their registers, each warp for itself.
    """

    scan_ps: int
    update_ps: int
    update_eight_bit_ps: int
    update_registers: int
    rounded_elements: float
    small_kernel_ps: int
    warm_ramp: float
    overlap_order: float
    ahead_overlap_order: float
    softmax_overlap_order: float
    exponentials: int
    transposed_bytes: float
    result_sums: int
    cluster_tiles: float
    generic_elements: float
    converted_elements: float


class KernelLibraries(NamedTuple):
    """All libraries, by the name of their files with ``_`` for ``-``."""

    triton_experts: TritonExperts
    cutlass_experts: CutlassExperts
    trtllm_experts: TrtllmExperts
    marlin: Marlin
    openai_experts: OpenaiExperts
    cublas: Cublas
    quantization: Quantization
    fused_attention: FusedAttention

    def packed(self, parts: int) -> list[int]:
        """All values in order, as the kernels have them: those that are no whole numbers by their
        type in parts of a 1 / ``parts``."""
        values = (value for library in self for value in library)
        return [round(value * parts) if isinstance(value, float) else value for value in values]


LIBRARY_TYPES: dict[str, type[Any]] = {
    "triton-experts": TritonExperts,
    "cutlass-experts": CutlassExperts,
    "trtllm-experts": TrtllmExperts,
    "marlin": Marlin,
    "openai-experts": OpenaiExperts,
    "cublas": Cublas,
    "quantization": Quantization,
    "fused-attention": FusedAttention,
}
"""Specifications by the name of a library, in the order of ``KernelLibraries``."""

LIBRARY_FIELDS = tuple(
    f"{name}.{field}" for name, library in LIBRARY_TYPES.items() for field in library._fields
)
"""All values as ``library.field``, in the order of ``KernelLibraries.packed``."""
