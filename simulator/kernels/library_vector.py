"""Where a chip's vector holds the values of its kernel libraries (``hardware.kernel_libraries``).

Times are picoseconds; orders, shares and other values that may be no whole numbers stand in parts
of PER_MILLION.
"""

from __future__ import annotations

from simulator.hardware.kernel_libraries import LIBRARY_FIELDS
from simulator.kernels.chip_vector import LIBRARY_VALUES

_AT = {name: LIBRARY_VALUES + index for index, name in enumerate(LIBRARY_FIELDS)}

TRITON_OVERLAP = _AT["triton-experts.overlap_order"]
TRITON_SHARERS = _AT["triton-experts.sharers"]
TRITON_WAVE_LOSS = _AT["triton-experts.wave_loss"]
TRITON_CLUSTER = _AT["triton-experts.cluster_tiles"]
TRITON_KEPT_RAMP = _AT["triton-experts.kept_ramp"]
TRITON_PROMOTION_OPS = _AT["triton-experts.promotion_ops"]
CUTLASS_OVERLAP = _AT["cutlass-experts.overlap_order"]
CUTLASS_LATENCIES = _AT["cutlass-experts.latencies"]
CUTLASS_LAUNCH_PS = _AT["cutlass-experts.launch_ps"]
TRTLLM_OVERLAP = _AT["trtllm-experts.overlap_order"]
TRTLLM_SCALED_PS = _AT["trtllm-experts.scaled_ps"]
TRTLLM_GATED_PS = _AT["trtllm-experts.gated_ps"]
TRTLLM_ABSENT_PS = _AT["trtllm-experts.absent_ps"]
TRTLLM_ROUTE_PS = _AT["trtllm-experts.route_ps"]
TRTLLM_SUMMED = _AT["trtllm-experts.summed_share"]
TRTLLM_BLOCKS_PS = _AT["trtllm-experts.blocks_launch_ps"]
MARLIN_MACS = _AT["marlin.macs"]
MARLIN_INTEGERS = _AT["marlin.integers"]
MARLIN_FLOATS = _AT["marlin.floats"]
MARLIN_OVERLAP = _AT["marlin.overlap_order"]
MARLIN_LATENCIES = _AT["marlin.latencies"]
MARLIN_FULLEST = _AT["marlin.fullest"]
MARLIN_LAUNCH_PS = _AT["marlin.launch_ps"]
OPENAI_WEIGHT_BITS = _AT["openai-experts.weight_bits"]
OPENAI_SHARED_PS = _AT["openai-experts.shared_launch_ps"]
MATMUL_OVERLAP = _AT["cublas.overlap_order"]
MATMUL_L2_WRITE = _AT["cublas.l2_write_cost"]
MATMUL_BOOST_PS = _AT["cublas.boost_ps"]
MATMUL_BOOST_ORDER = _AT["cublas.boost_order"]
MATMUL_TRIP_PS = _AT["cublas.trip_ps"]
MATMUL_L2_KEPT = _AT["cublas.l2_kept"]
MATMUL_L2_EDGE = _AT["cublas.l2_edge_order"]
MATMUL_SWITCHING = _AT["cublas.switching_share"]
MATMUL_HBM_BYTE_PJ = _AT["cublas.hbm_byte_pj"]
MATMUL_ACCUMULATOR = _AT["cublas.accumulator_bits"]
QUANTIZE_GAP_PS = _AT["quantization.gap_ps"]
QUANTIZE_ROW_PS = _AT["quantization.row_ps"]
QUANTIZE_FURTHER_PS = _AT["quantization.further_ps"]
QUANTIZE_PASS = _AT["quantization.pass_elements"]
QUANTIZE_GROUP_PS = _AT["quantization.group_ps"]
ATTENTION_SCAN_PS = _AT["fused-attention.scan_ps"]
ATTENTION_UPDATE_PS = _AT["fused-attention.update_ps"]
ATTENTION_UPDATE_EIGHT_BIT_PS = _AT["fused-attention.update_eight_bit_ps"]
ATTENTION_UPDATE_REGISTERS = _AT["fused-attention.update_registers"]
ATTENTION_ROUNDED = _AT["fused-attention.rounded_elements"]
ATTENTION_SMALL_KERNEL_PS = _AT["fused-attention.small_kernel_ps"]
ATTENTION_WARM_RAMP = _AT["fused-attention.warm_ramp"]
ATTENTION_OVERLAP = _AT["fused-attention.overlap_order"]
ATTENTION_AHEAD_OVERLAP = _AT["fused-attention.ahead_overlap_order"]
ATTENTION_SOFTMAX_OVERLAP = _AT["fused-attention.softmax_overlap_order"]
ATTENTION_EXPONENTIALS = _AT["fused-attention.exponentials"]
ATTENTION_TRANSPOSED = _AT["fused-attention.transposed_bytes"]
ATTENTION_RESULT_SUMS = _AT["fused-attention.result_sums"]
ATTENTION_CLUSTER = _AT["fused-attention.cluster_tiles"]
ATTENTION_GENERIC = _AT["fused-attention.generic_elements"]
ATTENTION_WAVE_LOSS = _AT["fused-attention.wave_loss"]
