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
    power limit has taken half of its effect, ``boost_order``: the power of the length in that.
    ``trip_ps``: a block that multiplies one row without tensor cores fetches 1,024 elements from
    L2. ``wave_loss``: share of what the last wave of blocks leaves empty that is lost where blocks
    drift apart. ``l2_kept``: share of its capacity in which an L2 of two partitions keeps what is
    read again and again, as each holds copies of some of the other's lines. ``l2_edge_order``: the
    power of capacity over bytes by which what is kept falls around that edge. ``replay_ps``: what a
    benchmark pays more that replays a captured graph of one operator, and not of several.

    The clock that a matmul sustains follows from its energy over ``switching_share`` of the power
    limit; the rest is drawn whatever runs (leakage, clocks, voltage regulators). ``hbm_byte_pj`` is
    the energy of a byte from HBM; that of a multiply-accumulate goes with the bits of its operands
    and ``accumulator_bits`` more, which all data types have.
    """

    overlap_order: float
    l2_write_cost: float
    boost_ps: int
    boost_order: int
    trip_ps: int
    replay_ps: int
    wave_loss: float
    l2_kept: float
    l2_edge_order: int
    switching_share: float
    hbm_byte_pj: float
    accumulator_bits: float

    def mac_energy_share(self, bits: int) -> float:
        """Energy of a multiply-accumulate of operands of so many bits against that of 16."""
        return (bits + self.accumulator_bits) / (16 + self.accumulator_bits)


class Nvfp4(NamedTuple):
    """Matmuls of 4-bit operands, each 16 elements of which share an 8-bit scale.

    ``step_ps``: least time of a step through the inner dimension, whose scales are copied to tensor
    memory, in place of ``GpuKernels.step_ps``. ``macs``: multiply-accumulates a cycle and
    multiprocessor for which operands and scales arrive. ``mac_energy``: energy of one of them over
    that of one of 16 bits.
    """

    step_ps: int
    macs: int
    mac_energy: float


class Quantization(NamedTuple):
    """Kernels before a matmul that scale and round its activations.

    ``gap_ps``: what the matmul waits, beyond a launch, for such a kernel to drain. ``row_ps``: a
    block that scales one row of up to ``pass_elements``: two trips to memory and a reduction;
    ``further_ps``: the same again, in part overlapped, for each further ``pass_elements``.
    ``group_ps``: a multiprocessor that scales a group of 128 activations, one after the other.
    ``resident_rows`` that a multiprocessor converts at a time where their scales are static.
    """

    gap_ps: int
    row_ps: int
    further_ps: int
    pass_elements: int
    group_ps: int
    resident_rows: float


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
    and multiprocessor into their registers, each warp for itself. ``wave_loss`` as Triton's
    experts', of a prompt's tiles.
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
    wave_loss: float


class AllReduceKernel(NamedTuple):
    """One all-reduce kernel of a serving engine.

    ``hops`` and ``hops_per_rank``: passes through the switch that it waits for, whatever the number
    of ranks, and for each. ``launches`` of kernels, ``copies`` of the buffer within the chip.
    ``window_bytes`` that a rank has under way at once; 0: enough for the link.
    """

    hops: float
    hops_per_rank: float
    launches: int
    copies: int
    window_bytes: int


class AllReduce(NamedTuple):
    """All-reduce kernels of serving engines (``hardware.engine_kernels``).

    ``round_trip``: passes through the switch from a read to its data.
    """

    round_trip: float
    pull_one_shot: AllReduceKernel
    pull_two_shot: AllReduceKernel
    push_one_shot: AllReduceKernel
    short_two_shot: AllReduceKernel
    lamport_one_shot: AllReduceKernel
    ordered_one_shot: AllReduceKernel
    staged_two_shot: AllReduceKernel
    symmetric_two_shot: AllReduceKernel
    multicast: AllReduceKernel


class KernelLibraries(NamedTuple):
    """All libraries, by the name of their files with ``_`` for ``-``."""

    triton_experts: TritonExperts
    cutlass_experts: CutlassExperts
    trtllm_experts: TrtllmExperts
    marlin: Marlin
    openai_experts: OpenaiExperts
    cublas: Cublas
    nvfp4: Nvfp4
    quantization: Quantization
    fused_attention: FusedAttention
    all_reduce: AllReduce

    def packed(self, parts: int) -> list[int]:
        """All values of ``LIBRARY_FIELDS``, as the kernels have them: those that are no whole
        numbers by their type in parts of a 1 / ``parts``."""
        of_operators = (library for library in self if not isinstance(library, AllReduce))
        values = (value for library in of_operators for value in library)
        return [round(value * parts) if isinstance(value, float) else value for value in values]


LIBRARY_TYPES: dict[str, type[Any]] = {
    "triton-experts": TritonExperts,
    "cutlass-experts": CutlassExperts,
    "trtllm-experts": TrtllmExperts,
    "marlin": Marlin,
    "openai-experts": OpenaiExperts,
    "cublas": Cublas,
    "nvfp4": Nvfp4,
    "quantization": Quantization,
    "fused-attention": FusedAttention,
}
"""Specifications of the libraries of operators by name, in the order of ``KernelLibraries``; behind
them comes that of collectives, which prices of operators do not need."""

LIBRARY_FIELDS = tuple(
    f"{name}.{field}" for name, library in LIBRARY_TYPES.items() for field in library._fields
)
"""All values of operators as ``library.field``, in the order of ``KernelLibraries.packed``."""
