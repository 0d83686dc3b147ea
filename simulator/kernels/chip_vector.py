"""A chip as one int64 vector, which is how the kernels see it.

The offsets below are the whole interface between the frozen specifications and numba;
``kernels.chip_packing`` fills them in.
"""

from __future__ import annotations

from simulator.hardware import RUN_CLASSES, SHORTEST_RUN_BYTES
from simulator.hardware.kernel_libraries import LIBRARY_FIELDS
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner

CLOCK_HZ = 0
HBM_BYTES_PER_S = 1
SRAM_BYTES_PER_S = 2
TILE_BYTES = 3
PREFETCH_BYTES = 4
ACTIVATION_BYTES = 5
HBM_LATENCY_PS = 6
OVERHEAD_PS = 7
VECTOR_OPS = 8
UNIT_KIND = 9
UNIT_COUNT = 10
UNIT_RATE = 11
ROWS = 12
COLS = 13
LOAD = 14
DATAFLOW = 15
TILE_K = 16
TILE_COUNT = 17
DEPTH = 18
REGISTER_RESULTS = 19
RUN_BANDWIDTH = 20
"""HBM bytes per second by length of the contiguous runs, RUN_CLASSES entries."""
ACCUMULATORS = RUN_BANDWIDTH + RUN_CLASSES
"""Bytes of partial sums beside the arrays; NO_LIMIT where they are not bounded."""
INPUT_BUFFER = ACCUMULATORS + 1
WEIGHT_BUFFER = INPUT_BUFFER + 1
RESULT_BUFFER = WEIGHT_BUFFER + 1
"""Bytes of separate buffers; 0 where the tile share is unified."""
SRAM_WRITE_BYTES_PER_S = RESULT_BUFFER + 1
"""Bandwidth of a separate write port; 0 where reads and writes share one."""
TILE_OVERHEAD_PS = SRAM_WRITE_BYTES_PER_S + 1
"""What every tile of an operator but the first takes beside its work."""
LOAD_CYCLES = TILE_OVERHEAD_PS + 1
"""Cycles in which an array takes in the stationary operand of a fold."""
GPU = LOAD_CYCLES + 1
"""1 where the kernels of a GPU are known; the fields up to ``TILES`` hold for them alone."""
GPU_TILE_PS = GPU + 1
GPU_STEP_PS = GPU + 2
GPU_FEED = GPU + 3
"""Bytes per second that one multiprocessor pulls from L2."""
GPU_MACS_PER_S = GPU + 4
"""Multiply-accumulates per second that one multiprocessor issues, before the power limit."""
GPU_SPLIT_PS = GPU + 5
GPU_RAMP_PS = GPU + 6
GPU_MAC_ATTOJOULE = GPU + 7
"""Energy of one multiply-accumulate of this data type."""
GPU_POWER_MW = GPU + 8
"""Power that is left for switching; 0 where no limit is known."""
GPU_PERSISTENT = GPU + 9
GPU_L2_BYTES = GPU + 10
GPU_ROTATING = GPU + 11
"""How many copies of the weights a benchmark cycles through; 0: weights are cold in L2."""
GPU_SPLITS = GPU + 12
"""How the kernels of this data type choose: FIXED, BEST_SPLIT or BEST_TILE."""
GPU_IN_STEP = GPU + 13
"""1 where the blocks of a wave do not drift apart."""
GPU_NARROW_ROWS = GPU + 14
"""Rows up to which kernels that do not split have tiles smaller than 128 x 128."""
GPU_SPLIT_RATIO = GPU + 15
"""Inner dimension over the longer side of the result from which kernels split, in parts of
PER_MILLION; 0 where the library looks for the best split."""
GPU_STREAM_BYTES_PER_S = GPU + 16
"""At which L2 gives what is read once."""
GPU_STORE_BYTES_PER_S = GPU + 17
"""At which results are written while nothing else runs."""
GPU_SCALED = GPU + 18
"""Elements of an operand that share a scale of 8 bits; 0: they have none to speak of."""
GPU_SCALED_MACS_PER_S = GPU + 19
"""Multiply-accumulates per second of a multiprocessor for which scales arrive."""
GPU_PROMOTED_PER_S = GPU + 20
"""Results per second that a multiprocessor's vector units scale and add up after each step; 0:
none are, or the tensor cores do it."""
SRAM_BYTES = GPU + 21
"""Capacity of the on-chip memory."""
FUSED = SRAM_BYTES + 1
"""Kernels of attention and experts on a GPU (``hardware.FusedKernels``); shares in parts of
PER_MILLION."""
FUSED_LAUNCH_PS = FUSED
FUSED_KERNEL_PS = FUSED + 1
FUSED_TILE_PS = FUSED + 2
FUSED_SM_BYTES_PER_S = FUSED + 3
FUSED_EXPERT = FUSED + 4
FUSED_STREAM = FUSED + 5
FUSED_ROW_TILE = FUSED + 6
FUSED_QUERY_TILE = FUSED + 7
FUSED_SPLITS = FUSED + 8
FUSED_SPLIT_GROUP = FUSED + 9
FUSED_EDGES = FUSED + 10
FUSED_PACKS = FUSED + 11
FUSED_QUANTIZES = FUSED + 12
FUSED_ABSENT = FUSED + 13
FUSED_COPIES = FUSED + 14
FUSED_SPLITS_PROMPTS = FUSED + 15
FUSED_NARROW_TILE = FUSED + 16
FUSED_EXPERT_LAUNCH_PS = FUSED + 17
FUSED_EXPERT_ROWS = FUSED + 18
FUSED_SOFTMAX = FUSED + 19
FUSED_OVERLAPS = FUSED + 20
FUSED_SCANS = FUSED + 21
FUSED_TRANSPOSES = FUSED + 22
FUSED_NARROW_LAUNCH_PS = FUSED + 23
"""Of experts with narrow activations, which another library runs; 0 where none does."""
FUSED_GATHERS = FUSED + 24
FUSED_TILE_OF_MEAN = FUSED + 25
FUSED_GENERIC = FUSED + 26
FUSED_REGROUPS = FUSED + 27
FUSED_FITS = FUSED + 28
FUSED_JOINS = FUSED + 29
ATTENTION_BITS = FUSED + 30
"""Bits of the operands that attention multiplies (``mapping.attention_dtype``)."""
ATTENTION_RATE = FUSED + 31
"""Multiply-accumulates a cycle of one array or multiprocessor with such operands."""
PLAIN_RATE = FUSED + 32
"""The same with operands of 16 bits, or of ``ATTENTION_BITS`` where they are wider."""
FUSED_BLOCK_ELEMENTS = FUSED + 33
"""Of a block of keys; 0 where blocks are as long for all heads."""
FUSED_SPLITS_LATENT = FUSED + 34
FUSED_MATRIX = FUSED + 35
LIBRARY_VALUES = FUSED + 36
"""Values of the kernel libraries; ``kernels.library_vector`` says which."""
TILES = LIBRARY_VALUES + len(LIBRARY_FIELDS)
FIXED = 0
"""The tile by the number of rows alone, and the inner dimension whole."""
BEST_SPLIT = 1
"""The best tile and split of the inner dimension."""
BEST_TILE = 2
"""The best tile, and the inner dimension whole."""
PER_MILLION = 1_000_000
NO_LIMIT = 1 << 62

SYSTOLIC = 0
TENSOR_CORE = 1


@inner
def run_bandwidth(chip: Int64Array, run: int) -> int:
    """HBM bytes per second of accesses in contiguous runs of ``run`` bytes."""
    index = 0
    length = 2 * SHORTEST_RUN_BYTES
    while index < RUN_CLASSES - 1 and run >= length:
        length *= 2
        index += 1
    return chip[RUN_BANDWIDTH + index]
