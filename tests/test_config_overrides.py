import numpy as np
import pytest

from simulator.config import find_config, load_chip, load_model, load_system
from simulator.config.catalog import describe
from simulator.config.loader import load_workload
from simulator.errors import InputError


def fault(text, name="tpu-v5e"):
    with pytest.raises(InputError) as caught:
        load_system(name, [text])
    assert caught.value.location.file == "--set"
    return caught.value


def test_an_override_changes_the_value_and_nothing_else():
    plain = load_chip("tpu-v5e")
    fast = load_chip("tpu-v5e", ["chip.hbm.bandwidth=1.2TB/s"])
    assert fast.hbm.bandwidth_bytes_per_s == 1_200_000_000_000
    assert fast.hbm.capacity_bytes == plain.hbm.capacity_bytes
    assert fast.matrix == plain.matrix


def test_a_system_passes_overrides_on_to_its_chip():
    texts = ["chip.matrix.rows=256", "system.host_overhead=1ms", "model.layers=2"]
    system = load_system("tpu-v5e:2x2", texts)
    assert system.chip.matrix.rows == 256
    assert system.host_overhead_ps == 10**9


def test_a_chip_of_ones_own_lies_where_the_command_runs(tmp_path, monkeypatch):
    text = find_config("chips", "toy").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("name: toy", "name: mine"))
    monkeypatch.chdir(tmp_path)
    for path in ("mine.yaml", "./mine.yaml", str(tmp_path / "mine.yaml")):
        assert load_system("toy", [f"system.chip={path}"]).chip.name == "mine"
    with pytest.raises(InputError, match="chip file other"):
        load_system("toy", ["system.chip=other.yaml"])


def test_overrides_are_a_list_and_no_text():
    with pytest.raises(InputError, match="expected a list of such texts"):
        load_chip("toy", "chip.clock=2 GHz")


def test_the_last_override_wins():
    assert load_chip("toy", ["chip.clock=2 GHz", "chip.clock=3 GHz"]).clock_hz == 3 * 10**9


def test_keys_that_the_file_has_not_can_be_set():
    energy = "{mac: {bf16: 1 pJ, fp8: 1 pJ, int8: 1 pJ}, vector_op: 1 pJ, sram_byte: 2 pJ, "
    energy += "hbm_byte: 1 pJ, link_byte: 1 pJ, idle: 1 W}"
    chip = load_chip("h100", ["chip.price=3 $/h", f"chip.power.energy={energy}"])
    assert chip.price_usd_per_hour == 3.0
    assert chip.power.energy.sram_byte_pj == 2.0
    assert load_system("tpu-v6e:2x2", ["system.fabric.link_bandwidth=1 GB/s"]).fabric == (
        load_system("tpu-v6e:2x2", ["chip.link.bandwidth=1 GB/s"]).fabric
    )


def test_a_list_is_set_whole():
    assert load_chip("h100", ["chip.matrix.tiles=[64x64]"]).matrix.tiles == ((64, 64),)


def test_a_model_is_overridden():
    assert load_model("llama3-8b", ["model.layers=2", "chip.clock=1 GHz"]).layers == 2


@pytest.mark.parametrize(
    ("text", "message", "column", "hint"),
    [
        ("chip.hbm.bandwith=3 TB/s", "unknown key 'bandwith' in 'chip.hbm'", 10, "'bandwidth'"),
        ("chop.hbm.bandwidth=3 TB/s", "unknown root 'chop'", 1, "'chip'"),
        ("chip.hbm.bandwidth=3", "bandwidth: '3' has no unit", 20, "GB/s"),
        ("chip.hbm.bandwidth=nan", "not a finite number", 20, "GB/s"),
        ("chip.clock.fast=3 GHz", "'chip.clock' has no keys below it", 6, "1.503 GHz"),
        ("chip.matrix.macs_per_cell.fp9=3", "unknown key 'fp9'", 27, "'fp8'"),
        ("chip.matrix.dataflow=wz", "unknown value 'wz'", 22, "ws"),
        ("chip.hbm=3", "expected a mapping, found '3'", 10, "capacity"),
        ("system.fabrik.kind=torus", "unknown key 'fabrik' in 'system'", 8, "'fabric'"),
        ("chip.hbm.bandwidth", "is not PATH=VALUE", 1, "chip.hbm.bandwidth=1.2TB/s"),
        ("chip.clock=", "is not PATH=VALUE", 1, "chip.hbm"),
        ("chip=3", "names no key", 1, "chip."),
        ("chip..clock=3", "is not PATH=VALUE", 1, "chip.hbm"),
    ],
)
def test_a_bad_override_is_located(text, message, column, hint):
    error = fault(text)
    assert message in error.message
    assert error.location.column == column
    assert hint in error.hint


def test_a_bad_list_is_an_input_error():
    with pytest.raises(InputError, match="not valid YAML"):
        load_chip("h100", ["chip.matrix.tiles=[64x64"])


def test_show_says_that_a_value_was_set():
    rows = {row.path: row for row in describe("toy", "chip", ["chip.clock=2 GHz"]).rows}
    assert (rows["chip.clock"].value, rows["chip.clock"].source) == (2 * 10**9, "--set")
    assert rows["chip.hbm.latency"].source == "made up for calculations by hand"
    assert rows["chip.peak.bf16"].value == 2 * 32 * 10**9


@pytest.mark.parametrize("text", ["chip.power={}", "chip.power={energy: {}}"])
def test_an_empty_mapping_does_not_delete_a_section(text):
    error = fault(text)
    assert "sets nothing in 'power" in error.message
    assert "keys: " in error.hint


def test_a_mapping_sets_the_keys_that_it_names_and_no_others():
    plain = load_chip("tpu-v5e")
    chip = load_chip("tpu-v5e", ["chip.power={tdp: 500 W, energy: {idle: 7 W}}"])
    assert (chip.power.tdp_w, chip.power.energy.idle_w) == (500.0, 7.0)
    assert chip.power.energy.hbm_byte_pj == plain.power.energy.hbm_byte_pj
    hbm = ["chip.hbm={bandwidth: 2 TB/s}"]
    assert load_chip("tpu-v5e", hbm) == load_chip("tpu-v5e", ["chip.hbm.bandwidth=2 TB/s"])
    listed = [
        load_chip("h100", [text])
        for text in ("chip.matrix.kernels={unsplit: [fp8]}", "chip.matrix.kernels.unsplit=[fp8]")
    ]
    assert listed[0] == listed[1] != load_chip("h100")
    rows = {row.path: row for row in describe("tpu-v5e", "chip", hbm).rows}
    assert rows["chip.hbm.bandwidth"].source == "--set"
    assert rows["chip.hbm.capacity"].source != "--set"
    with pytest.raises(InputError, match="unknown key 'bandwith'"):
        load_chip("tpu-v5e", ["chip.hbm={bandwith: 2 TB/s}"])


def test_a_mapping_of_another_kind_takes_the_place_of_all():
    other = "{kind: tensor_core, count: 8, macs_per_sm: {bf16: 64}, tiles: [8x8], tile_k: 8}"
    chip = load_chip("wse3-core", [f"chip.matrix={other}"])
    assert chip.matrix.count == 8
    for value in ("constant, at: 7", "lognormal, median: 7, sigma: 1"):
        path = f"workload.prompt_tokens={{distribution: {value}}}"
        spec = load_workload("chat", [path])
        assert spec.prompt_tokens.quantile(np.array([0.5])) == pytest.approx(7, abs=0.5)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("chip.price=1e30 $/h", "1.2 $/h"),
        ("chip.price=200000 $/h", "100000 $/h"),
        ("chip.power.tdp=3 MW", "1 MW"),
        ("chip.power.energy.idle=3 MW", "1 MW"),
        ("chip.power.energy.hbm_byte=2000 uJ", "1000 uJ"),
    ],
)
def test_slips_of_a_unit_are_refused(text, most):
    error = fault(text)
    assert "too large" in error.message and most in error.hint


@pytest.mark.parametrize("rows", [48, 128])
def test_decode_tiles_are_whole_tiles_of_rows(rows):
    error = fault(f"chip.fused_kernels.row_tile={rows}", "h100")
    assert f"a decode tile of 64 rows is no multiple of {rows}" in error.message
    assert "16, 32, 64" in error.hint
    assert load_chip("h100", ["chip.fused_kernels.row_tile=32"]).fused.row_tile == 32
