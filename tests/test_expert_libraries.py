"""Which library runs experts, what each costs, and weights that a benchmark finds in L2."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.cli.op_moe import moe
from simulator.config.loader import load_chip, load_libraries
from simulator.errors import InputError
from simulator.hardware.fused_kernels import USUAL
from simulator.kernels.expert_kernels import LIBRARIES
from simulator.timing.moe_case import MoeCase
from simulator.timing.moe_operator import price_moes
from simulator.validation.baselines import second_stack
from simulator.validation.silicon_columns import READERS
from simulator.validation.table import Table

LAYER = MoeCase(64, 4096, 2048, 64, 8)
CHIPS = ("a100", "l40s", "h100", "b200")
MARLIN = load_libraries().marlin
NAMED = {
    "triton": {},
    "cutlass": {},
    "trtllm": {},
    "marlin": {"weight_dtype": "fp4"},
    "openai": {"weight_dtype": "fp4"},
}


def seconds(chip: str, case: MoeCase, **changes: object) -> float:
    return price_moes(load_chip(chip), [dataclasses.replace(case, **changes)])[0].time_s


@pytest.mark.parametrize(
    ("chip", "case", "kernels"),
    [
        ("h100", {}, "triton"),
        ("h100", {"dtype": "fp8"}, "cutlass"),
        ("h100", {"weight_dtype": "fp4"}, "openai"),
        ("h100", {"weight_dtype": "int4"}, "marlin"),
        ("b200", {"weight_dtype": "int4"}, "marlin"),
        *(("b200", {"dtype": dtype}, "trtllm") for dtype in ("bf16", "fp8", "fp4")),
        ("b200", {"weight_dtype": "fp4"}, "trtllm"),
    ],
)
def test_what_an_engine_takes(chip: str, case: dict[str, str], kernels: str) -> None:
    for tokens in (1, 2000):
        usual = seconds(chip, LAYER, tokens=tokens, **case)
        assert usual == seconds(chip, LAYER, tokens=tokens, kernels=kernels, **case)


@pytest.mark.parametrize("kernels", NAMED)
@pytest.mark.parametrize("chip", CHIPS)
def test_every_library_keeps_to_the_units_and_never_gains_by_more_tokens(
    chip: str, kernels: str
) -> None:
    own = load_chip(chip)
    peak = 2 * own.matrix.macs_per_cycle("bf16")
    for buffers in (0, 1):
        cases = [
            dataclasses.replace(
                LAYER,
                tokens=tokens,
                ep=8,
                exchange=False,
                kernels=kernels,
                buffers=buffers,
                **NAMED[kernels],
            )
            for tokens in (*range(1, 40), *range(40, 1600, 23))
        ]
        found = price_moes(own, cases)
        for one in found:
            assert one.cycles * peak >= one.flops
            assert (one.cycles + 1) * own.hbm.sustained_bytes_per_s >= one.hbm_bytes * one.clock_hz
        times = np.array([one.time_s for one in found])
        assert np.all(times[1:] >= times[:-1] * (1 - 1e-9))


def test_marlin_is_bound_by_conversions_where_an_expert_has_few_tokens() -> None:
    """As long on H200 as on H100, however fast its memory; floats take longer than integers."""
    few = MoeCase(256, 7168, 2048, 384, 8, weight_dtype="int4")
    weights = 384 * 3 * 7168 * 2048
    for chip in ("h200", "b200"):
        own = load_chip(chip)
        for dtype, rate in (("int4", MARLIN.integers), ("fp4", MARLIN.floats)):
            least = weights / (rate * own.matrix.count * own.clock_hz)
            assert seconds(chip, few, weight_dtype=dtype, kernels="marlin") > least
        integers = seconds(chip, few)
        assert 1.1 < seconds(chip, few, weight_dtype="fp4", kernels="marlin") / integers < 1.5
    h200 = load_chip("h200")
    faster = dataclasses.replace(h200.hbm, bandwidth_bytes_per_s=100 * 10**12)
    own, other = (
        price_moes(dataclasses.replace(h200, hbm=hbm), [few])[0].time_s
        for hbm in (h200.hbm, faster)
    )
    assert other > 0.5 * own
    many = dataclasses.replace(few, tokens=65536)
    assert seconds("h200", many) > 2 * 65536 * 8 * weights / 384 / (
        2 * MARLIN.macs * h200.matrix.count * h200.clock_hz
    )


def test_four_bit_floats_are_stored_with_padding() -> None:
    """2,880 becomes 3,072 on B200 and 2,944 on H100; but the work that counts stays."""
    case = MoeCase(32, 2880, 2880, 32, 4, weight_dtype="fp4")
    for chip, width in (("b200", 3072), ("h100", 2944)):
        found = price_moes(load_chip(chip), [case])[0]
        assert found.flops == 2 * 3 * 32 * 4 * 2880 * 2880
        weights = 32 * 3 * width * width * 4.25 / 8
        assert weights <= found.hbm_read_bytes < 1.02 * weights
        even = dataclasses.replace(case, hidden=width, intermediate=width)
        assert price_moes(load_chip(chip), [even])[0].time_s == found.time_s
    bare = dataclasses.replace(case, dtype="fp4")
    found = price_moes(load_chip("b200"), [bare])[0]
    assert found.hbm_read_bytes < 1.02 * 32 * 3 * 2880 * 2880 * 4.5 / 8


def test_gpt_oss_kernels_take_larger_tiles_and_more_launches_where_ranks_share() -> None:
    case = MoeCase(256, 2880, 2880, 128, 4, weight_dtype="fp4", exchange=False)
    alone, shared = price_moes(load_chip("h100"), [case, dataclasses.replace(case, ep=32)])
    # an expert has as many tokens, but its tile has 128 rows, not 16
    assert shared.busy[0] > 2 * alone.busy[0] / 32
    one = dataclasses.replace(case, tokens=1, top_k=1)
    assert seconds("h100", one, ep=2) - seconds("h100", one) > 29e-6


def test_a_benchmark_finds_small_weights_in_l2() -> None:
    """L40S, 96 MB: layers of 24 MB, which it runs again and again; models always come from HBM."""
    small = MoeCase(1, 2048, 512, 64, 8)
    for chip in CHIPS:
        own = load_chip(chip)
        cold, warm, two, many = (
            price_moes(own, [dataclasses.replace(small, buffers=n)])[0] for n in (0, 1, 2, 64)
        )
        weights = 8 * 3 * 2048 * 512 * 2
        assert cold.hbm_read_bytes >= weights
        assert warm.hbm_read_bytes <= two.hbm_read_bytes <= many.hbm_read_bytes
        assert warm.time_s <= two.time_s <= many.time_s <= cold.time_s
        # a hundredth of a percent, as the edge of a cache is not sharp
        assert many.hbm_read_bytes > 0.99 * cold.hbm_read_bytes
    one, other = (seconds("l40s", small, buffers=n) for n in (0, 1))
    assert one - other > 0.7 * weights / load_chip("l40s").hbm.sustained_bytes_per_s


def test_blocks_on_blackwell_cost_the_groups_of_other_ranks_as_well() -> None:
    case = MoeCase(8192, 6144, 2048, 256, 8, ep=32, exchange=False, dtype="fp8", blocks=True)
    narrow = dataclasses.replace(case, intermediate=256)
    plain, blocks = (seconds("b200", case, blocks=flag) for flag in (False, True))
    assert blocks > plain
    # 16 groups a copy that is elsewhere are not 2
    saved = seconds("b200", case) - seconds("b200", narrow)
    plain_saved = seconds("b200", case, blocks=False) - seconds("b200", narrow, blocks=False)
    assert saved - plain_saved > 14 * 8192 * 8 * 40e-9 / 148


@pytest.mark.parametrize(
    ("chip", "case", "message"),
    [
        ("h100", {"kernels": "cutlas"}, "kernels: found 'cutlas'"),
        ("h100", {"kernels": "marlin"}, "kernels: found 'marlin' for dtype bf16"),
        ("h100", {"kernels": "openai", "weight_dtype": "int4"}, "found 'openai' for dtype bf16"),
        ("h100", {"kernels": "triton", "weight_dtype": "int4"}, "found 'triton' for dtype bf16"),
        ("tpu-v6e", {"kernels": "triton"}, "which is no GPU"),
    ],
)
def test_a_library_without_such_kernels_is_refused(
    chip: str, case: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        seconds(chip, LAYER, **case)


def test_the_command_knows_every_library() -> None:
    kernels = next(option for option in moe.params if option.name == "kernels")
    assert kernels.type.choices == (USUAL, *LIBRARIES)


def test_a_row_of_an_installed_table_names_its_library() -> None:
    sources = ["vllm_fused_moe", "vllm_marlin_moe", "vllm_flashinfer_cutlass_moe"]
    sizes = ("num_tokens", "hidden_size", "inter_size", "num_experts", "topk")
    columns = {name: np.full(3, 64) for name in (*sizes, "moe_tp_size", "moe_ep_size")}
    columns |= {
        "distribution": np.array(["balanced"] * 3, dtype=object),
        "latency": np.ones(3),
        "moe_dtype": np.array(["bfloat16"] * 3, dtype=object),
        "kernel_source": np.array(sources, dtype=object),
    }
    (table,) = READERS["moe"](columns, "h100", "s 1", "s")
    assert table.inputs["kernels"].tolist() == [USUAL, "marlin", "cutlass"]


def test_two_stacks_are_compared_whichever_kernels_they_run() -> None:
    tokens = np.arange(1, 20)

    def table(stack: str, kernels: str, scale: float) -> Table:
        inputs = {"tokens": tokens, "kernels": np.full(len(tokens), kernels)}
        return Table("h100", "moe", "bf16", f"{stack} 1", stack, inputs, tokens * scale)

    found = second_stack(table("vllm", "usual", 1.0), [table("trtllm", "cutlass", 2.0)])
    assert found is not None
    assert np.array_equal(found, tokens * 2.0)


def test_a_result_says_what_else_than_usual_was_priced() -> None:
    usual = MoeCase(64, 1024, 512, 16, 2)
    (plain,) = price_moes(load_chip("h100"), [usual])
    assert not {"blocks", "kernels"} & set(plain.given)
    (blocks,) = price_moes(
        load_chip("h100"), [dataclasses.replace(usual, dtype="fp8", blocks=True)]
    )
    assert blocks.given["blocks"] is True
    (other,) = price_moes(load_chip("b200"), [dataclasses.replace(usual, kernels="cutlass")])
    assert other.given["kernels"] == "cutlass"
