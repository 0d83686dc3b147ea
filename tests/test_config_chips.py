"""Chip files: what is shipped, and every way to get one wrong."""

import re
from pathlib import Path

import pytest

from simulator.config import load_chip
from simulator.config.catalog import check_file, describe
from simulator.config.config_files import load_chip_file
from simulator.config.names import find_config, list_names
from simulator.errors import InputError
from simulator.hardware import SystolicArray, TensorCore
from simulator.validation.parameter_values import current
from simulator.validation.parameters import PARAMETERS

# TFLOP/s as published: docs.cloud.google.com for the TPUs, NVIDIA's data sheet (dense) for H100
PUBLISHED_PEAKS = {
    "tpu-v5e": {"bf16": 197, "int8": 394},
    "tpu-v5p": {"bf16": 459, "fp8": 459, "int8": 918},
    "tpu-v6e": {"bf16": 918, "fp8": 918, "int8": 1840},
    "tpu-v7x": {"bf16": 2307, "fp8": 4614},
    "h100": {"bf16": 989, "fp8": 1978, "int8": 1978},
}

GOOD = """\
kind: chip
name: mine
clock: 1 GHz
matrix:
  kind: systolic
  rows: 4
  cols: 4
  count: 1
  macs_per_cell: {bf16: 1}
vector:
  ops_per_cycle: 4
sram:
  capacity: 4 KiB
  bandwidth: 64 GB/s
hbm:
  capacity: 1 GiB
  bandwidth: 8 GB/s
  latency: 10 ns
"""


def fault(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_chip(file)
    assert caught.value.location.file == str(file)
    return caught.value


@pytest.mark.parametrize("name", PUBLISHED_PEAKS)
def test_peaks_are_the_published_ones(name):
    chip = load_chip(name)
    assert set(chip.matrix.dtypes) == set(PUBLISHED_PEAKS[name])
    for dtype, tflops in PUBLISHED_PEAKS[name].items():
        assert chip.peak_flops_per_s(dtype) == pytest.approx(tflops * 1e12, rel=0.003)


@pytest.mark.parametrize(
    ("name", "capacity", "bandwidth"),
    [
        ("tpu-v5e", 15.75 * 2**30, 819e9),
        ("tpu-v5p", 95 * 2**30, 2765e9),
        ("tpu-v6e", 32 * 2**30, 1640e9),
        ("tpu-v7x", 192 * 2**30, 7380e9),
        ("h100", 80e9, 3350e9),
    ],
)
def test_hbm_is_the_published_one(name, capacity, bandwidth):
    hbm = load_chip(name).hbm
    assert (hbm.capacity_bytes, hbm.bandwidth_bytes_per_s) == (capacity, bandwidth)
    assert hbm.sustained_bytes_per_s < hbm.bandwidth_bytes_per_s


def test_the_toy_has_round_numbers():
    chip = load_chip("toy")
    assert isinstance(chip.matrix, SystolicArray)
    assert chip.peak_flops_per_s("bf16") == 2 * 16 * 10**9
    assert chip.sram.capacity_bytes == 4096
    assert chip.hbm.bandwidth_bytes_per_s == 8 * 10**9
    assert chip.power.energy is not None
    assert chip.power.energy.mac_pj == {"bf16": 1.0, "int8": 1.0}
    assert chip.power.energy.idle_w == 0.001


def test_a_tensor_core_has_tiles():
    matrix = load_chip("wse3-core").matrix
    assert isinstance(matrix, TensorCore)
    assert matrix.kernels is None and matrix.tiles


def test_a_gpu_has_kernels():
    matrix = load_chip("h100").matrix
    assert isinstance(matrix, TensorCore)
    assert matrix.kernels is not None
    assert (128, 256) in matrix.kernels.tiles
    assert matrix.macs_per_cycle("bf16") == 132 * 2048


GPUS = (
    *("a100", "a40", "h100", "h200", "h800", "b200", "b300", "gb200", "gb300", "l40s"),
    "mi300x",
)
LOOKED = re.compile(
    r"\bleast .*(error|deviation)|\bfit(s|ted)?\b|\bbest of\b|read off|slopes of|inferred|times of"
    r"|chosen|tried|one figure for|\bas (on|for) [abghml]+\d+|which was measured|reaches? 0\.\d",
    re.IGNORECASE,
)
"""Words of sources that tell that somebody looked at measured times."""


def provenance(name):
    return load_chip_file(find_config("chips", name), {}).sourced


@pytest.mark.parametrize("name", GPUS)
def test_no_more_than_fifteen_values_are_fitted(name):
    """Family figures, switches and what another chip lends count, too; the fabric's do not."""
    fitted = provenance(name).fitted
    assert 10 <= len(fitted) <= 15, fitted


@pytest.mark.parametrize("name", GPUS)
def test_what_was_chosen_by_looking_at_times_says_so(name):
    """Whatever words the source uses, the confidence is ``fitted``, and only then."""
    for path, note in provenance(name).provenance.items():
        looked = LOOKED.search(note.source or "") is not None
        assert looked <= (note.confidence == "fitted"), (path, note)
        if note.confidence == "fitted":
            assert note.source is not None, path


@pytest.mark.parametrize("kind", ["chip", "system", "engine"])
def test_fits_say_so_in_every_file(kind):
    fit = re.compile(r"\bleast .*(error|bias)|\bfitted to\b|\bsame fit\b|\bthe fit to\b")
    for name in list_names(f"{kind}s"):
        for row in describe(name, kind).rows:
            if fit.search(row.source or ""):
                assert row.confidence == "fitted", (name, row.path)


@pytest.mark.parametrize("name", GPUS)
def test_every_value_of_a_gpus_kernels_has_a_source(name):
    """What no document says can hide in no value without a source."""
    for path, note in provenance(name).provenance.items():
        if path.startswith(("matrix.kernels", "fused_kernels", "hbm", "sram", "operator_overhead")):
            assert note.source is not None and note.confidence is not None, path


@pytest.mark.parametrize("name", [name for name in GPUS if name != "mi300x"])
def test_feed_is_a_multiple_of_the_share_in_l2(name):
    """4.5 times where clusters share loads, which came with Hopper; 2.2 times before it."""
    chip = load_chip(name)
    assert isinstance(chip.matrix, TensorCore)
    assert chip.matrix.kernels is not None
    multiple = 4.5 if chip.matrix.kernels.persistent else 2.2
    share = chip.sram.bandwidth_bytes_per_s / chip.matrix.count
    assert chip.matrix.kernels.feed_bytes_per_s == pytest.approx(multiple * share, rel=1e-3)


@pytest.mark.parametrize("name", GPUS)
def test_fitted_values_lie_within_the_bounds_of_their_parameters(name):
    for parameter in PARAMETERS:
        if parameter.path.removeprefix("chip.") in provenance(name).fitted:
            value = current(parameter, name, ())
            assert value is not None
            assert parameter.low <= value <= parameter.high, parameter.path


@pytest.mark.parametrize("name", ["a100", "b200", "b300", "gb300"])
def test_a_power_limit_without_measurements_leaves_the_full_rates(name):
    """``mac_energy`` of chips that no kernel slows down: 85 % of the board power, 50 pJ a byte."""
    chip = load_chip(name)
    assert isinstance(chip.matrix, TensorCore)
    assert chip.matrix.kernels is not None
    assert chip.power.tdp_w is not None
    left = 0.85 * chip.power.tdp_w - 50e-12 * chip.hbm.bandwidth_bytes_per_s
    rate = chip.matrix.macs_per_cycle("bf16") * chip.clock_hz
    assert chip.matrix.kernels.mac_pj == pytest.approx(left / rate * 1e12, rel=0.01)


def test_a_plain_file_loads_with_defaults(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    chip = load_chip(str(file))
    assert chip.link is None
    assert chip.hbm.efficiency == 1.0
    assert check_file(file) == "chip"


def test_a_value_may_carry_its_source(tmp_path):
    file = tmp_path / "mine.yaml"
    text = GOOD.replace("8 GB/s", "{value: 9 GB/s, source: a data sheet, confidence: official}")
    file.write_text(text)
    assert load_chip(file).hbm.bandwidth_bytes_per_s == 9 * 10**9


@pytest.mark.parametrize(
    ("old", "new", "message", "where", "hint"),
    [
        ("  bandwidth: 8", "  bandwith: 8", "unknown key 'bandwith'", (17, 3), "'bandwidth'"),
        ("8 GB/s", "8", "bandwidth: '8' has no unit", (17, 14), "GB/s"),
        ("8 GB/s", "8 GG/s", "unknown unit 'GG/s'", (17, 14), "did you mean"),
        ("8 GB/s", "-8 GB/s", "bandwidth: '-8 GB/s' is negative", (17, 14), "at least 0"),
        ("8 GB/s", ".nan", "bandwidth: '.nan' is not a finite number", (17, 14), "819 GB/s"),
        ("8 GB/s", "0 GB/s", "bandwidth: '0 GB/s' is zero", (17, 14), "more than 0"),
        ("8 GB/s", "[8 GB/s]", "bandwidth: expected one value, found a list", (17, 3), None),
        ("8 GB/s", "", "bandwidth: expected a bandwidth, found nothing", (17, 13), "819"),
        ("rows: 4", "rows: 4.5", "rows: '4.5' is not a whole number", (6, 9), "128"),
        ("kind: systolic", "kind: sistolic", "matrix: unknown 'kind'", (5, 9), "'systolic'"),
        ("  kind: systolic\n", "", "matrix: missing key 'kind'", (4, 1), None),
        ("  latency: 10 ns\n", "", "missing key 'latency' in 'hbm'", (15, 1), None),
        ("{bf16: 1}", "{bf17: 1}", "unknown key 'bf17'", (9, 19), "'bf16'"),
        ("{bf16: 1}", "{}", "macs_per_cell is empty", (4, 1), "at least one"),
        ("kind: chip", "kind: chap", "kind: unknown value 'chap'", (1, 7), "'chip'"),
        ("kind: chip", "kind: model", "this is a model file", (1, 7), None),
        ("kind: chip\n", "", "missing key 'kind'", (1, 1), "chip"),
        ("name: mine", "name: a/b", "name: 'a/b' is not a name", (2, 7), "letters"),
        ("4 KiB\n", "4 KiB\n  tile_fraction: 0.9\n", "sum to 1.4", (12, 1), "exceed 1"),
        ("10 ns\n", "10 ns\n  efficiency: 1.1\n", "efficiency: '1.1' is more than 1", None, None),
        ("10 ns\n", "10 ns\n  efficiency: 0\n", "efficiency: '0' is zero", None, None),
        ("vector:\n  ops_per_cycle: 4", "vector: 4", "expected a mapping, found '4'", None, "ops"),
        ("8 GB/s", "{value: 8 GB/s, sauce: x}", "unknown key 'sauce'", (17, 30), "'source'"),
        ("8 GB/s", "{value: 8 GB/s, confidence: sure}", "unknown confidence", (17, 42), "official"),
    ],
)
def test_one_clear_error_with_its_place(tmp_path, old, new, message, where, hint):
    assert GOOD.count(old) >= 1
    error = fault(tmp_path, GOOD.replace(old, new, 1))
    assert message in error.message
    if where is not None:
        assert (error.location.line, error.location.column) == where
    if hint is not None:
        assert hint in error.hint


def test_the_error_looks_as_the_design_says(tmp_path):
    text = str(fault(tmp_path, GOOD.replace("  bandwidth: 8", "  bandwith: 8")))
    lines = text.splitlines()
    assert lines[0] == "unknown key 'bandwith' (and 1 more error)"
    assert lines[1] == f"  --> {tmp_path / 'mine.yaml'}:17:3"
    assert lines[2] == "   |   bandwith: 8 GB/s"
    assert lines[3] == "   |   ^^^^^^^^  did you mean 'bandwidth'?"


def test_the_number_of_further_errors_is_told(tmp_path):
    text = GOOD.replace("8 GB/s", "8").replace("1 GiB", "1 Gib").replace("10 ns", "x")
    error = fault(tmp_path, text)
    assert error.message.startswith("capacity: ")
    assert error.message.endswith("(and 2 more errors)")


def test_energies_must_cover_every_rate(tmp_path):
    energy = "power:\n  energy: {mac: {int8: 1 pJ}, vector_op: 1 pJ, sram_byte: 1 pJ, "
    energy += "hbm_byte: 1 pJ, link_byte: 1 pJ, idle: 1 W}\n"
    assert "no energy for bf16" in fault(tmp_path, GOOD + energy).message


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("tpu-v5", "unknown chip 'tpu-v5'", "did you mean 'tpu-v5"),
        ("zzz", "unknown chip 'zzz'", "tpu-v7x"),
        ("no/such.yaml", "does not exist", "known"),
        ("h1000.yaml", "chip file h1000.yaml does not exist", "did you mean 'h100'"),
        ("", "is not a name", "known"),
        ("x" * 5000, "unknown chip", "known"),
    ],
)
def test_an_unknown_chip_is_never_a_default(name, message, hint):
    with pytest.raises(InputError) as caught:
        load_chip(name)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_directory_is_no_chip(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        load_chip(tmp_path)


def test_names_are_looked_up_as_path_then_here_then_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_chip("toy").clock_hz == 10**9
    here = tmp_path / "configs" / "chips"
    here.mkdir(parents=True)
    (here / "toy.yaml").write_text(GOOD.replace("1 GHz", "2 GHz"))
    assert load_chip("toy").clock_hz == 2 * 10**9
    (tmp_path / "toy").write_text(GOOD.replace("1 GHz", "3 GHz"))
    assert load_chip("toy").clock_hz == 3 * 10**9
    # a results folder that is called as a chip does not hide it
    (tmp_path / "h100").mkdir()
    assert load_chip("h100").name == "h100"


def test_a_loaded_chip_is_remembered_until_its_file_changes(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "configs/chips/toy.yaml").read_text()
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    first = load_chip(file)
    assert load_chip(file) is first
    assert load_chip(file, ["chip.clock=2 GHz"]) is not first
    file.write_text(text + "\n# touched\n")
    assert load_chip(file) is not first
    assert load_chip(file) == first
    file.unlink()
    with pytest.raises(InputError):
        load_chip(file)


def test_a_file_beside_the_user_comes_before_a_remembered_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = load_chip("toy")
    folder = tmp_path / "configs" / "chips"
    folder.mkdir(parents=True)
    text = (Path(__file__).parent.parent / "configs/chips/toy.yaml").read_text()
    slower = text.replace("kind: chip", "kind: chip\nsustained_clock: 0.5")
    (folder / "toy.yaml").write_text(slower)
    own = load_chip("toy")
    assert own.sustained_clock_hz * 2 == packaged.sustained_clock_hz
