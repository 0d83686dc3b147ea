"""Steps of a convolutional network: its lowered matmuls at the prices of ``op matmul``."""

import dataclasses
import json

import pytest

from simulator.api import price_matmul, price_step
from simulator.config.loader import load_any_model, load_system
from simulator.errors import InfeasibleError, InputError
from simulator.model.convnet import ConvNet, Convolution
from simulator.timing.convnet import price_images

SMALL = ConvNet(
    "small",
    (Convolution("first", 3, 4, 8, 6), Convolution("second", 1, 8, 16, 6, repeat=3)),
)


def test_a_step_is_the_sum_of_its_matmuls():
    system = load_system("toy")
    step = price_images(system, SMALL, 5)
    first = price_matmul(system.chip, 5 * 36, 36, 8)
    second = price_matmul(system.chip, 5 * 36, 8, 16)
    assert step.time_s == pytest.approx(
        first.time_s + 3 * second.time_s + system.host_overhead_ps / 1e12
    )
    assert step.flops == 2 * 5 * 36 * (36 * 8 + 3 * 8 * 16) == SMALL.flops(5)
    assert sum(span.flops for span in step.operators) == step.flops
    moved = first.hbm_bytes + 3 * second.hbm_bytes
    assert step.traffic_bytes["hbm_read"] + step.traffic_bytes["hbm_write"] == moved
    assert sum(step.bound_by.values()) == pytest.approx(1)
    assert sum(step.memory_bytes.values()) == system.chip.hbm.capacity_bytes
    assert all(0 <= share <= 1 for share in step.utilization.values())


def test_never_faster_than_peak_or_bandwidth_and_a_part_never_slower():
    system = load_system("tpu-v5e:2x2")
    chip = system.chip
    last = 0.0
    for batch in (1, 4, 32, 256):
        step = price_step(system, "resnet-50", phase="prefill", batch=batch, context=1)
        assert last <= step.time_s
        assert step.time_s >= step.flops / (4 * chip.peak_flops_per_s("bf16"))
        moved = step.traffic_bytes["hbm_read"] + step.traffic_bytes["hbm_write"]
        assert step.time_s >= moved / (4 * chip.hbm.bandwidth_bytes_per_s)
        last = step.time_s


def test_chips_share_the_images():
    one = price_step("tpu-v5e", "resnet-50", phase="prefill", batch=8, context=1)
    four = price_step("tpu-v5e:2x2", "resnet-50", phase="prefill", batch=32, context=1)
    assert four.time_ps == one.time_ps
    assert four.mfu == pytest.approx(one.mfu)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "decode"}, "has no decode step"),
        ({"context": 2}, "counts as one token"),
        ({"tp": 2}, "share the images"),
        ({"weight_dtype": "int8"}, "needs one data type"),
        ({"batch": 0}, "--batch must be at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(change, message):
    options = {"phase": "prefill", "batch": 1, "context": 1} | change
    with pytest.raises(InputError, match=message):
        price_step("tpu-v5e:2x2", "resnet-50", **options)


def test_too_many_images_do_not_fit():
    with pytest.raises(InfeasibleError, match="by "):
        price_step("tpu-v5e", "resnet-50", phase="prefill", batch=100_000, context=1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernel: 3", "kernal: 3", "unknown key 'kernal'"),
        ("size: 6", "size: 0", "size: '0' is zero"),
        ("architecture: convnet", "architecture: convnett", "unknown value 'convnett'"),
        ("{name: a, kernel: 3, inputs: 4, outputs: 8, size: 6}", "", "nothing"),
    ],
)
def test_a_bad_file_is_shown_in_its_line(tmp_path, old, new, message):
    text = "kind: model\narchitecture: convnet\nname: tiny\nconvolutions:\n"
    text += "  - {name: a, kernel: 3, inputs: 4, outputs: 8, size: 6}\n"
    file = tmp_path / "tiny.yaml"
    file.write_text(text)
    assert load_any_model(file) == ConvNet("tiny", (Convolution("a", 3, 4, 8, 6),))
    file.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_any_model(file)
    assert message in caught.value.message
    assert caught.value.location.line is not None


def test_documents_are_plain_json(tmp_path):
    step = price_images(load_system("toy"), SMALL, 1)
    assert json.dumps(dataclasses.asdict(step))
