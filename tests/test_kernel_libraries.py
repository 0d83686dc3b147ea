"""Kernel libraries: files with bounds and sources, of which every value counts in some price."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from simulator import api
from simulator.cli.entry import main
from simulator.config import find_config, list_names, load_chip
from simulator.config.catalog import check_file, describe
from simulator.config.library_schema import SCHEMAS, own_keys
from simulator.config.loader import load_libraries
from simulator.errors import InputError
from simulator.hardware import Chip
from simulator.hardware.kernel_libraries import LIBRARY_FIELDS, LIBRARY_TYPES, KernelLibraries
from simulator.kernels import library_vector
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.chip_vector import LIBRARY_VALUES, PER_MILLION, TILES
from simulator.timing.attention_operator import AttentionCase, price_attentions
from simulator.timing.latent_operator import LatentCase, latent_seconds
from simulator.timing.moe_case import MoeCase
from simulator.timing.moe_operator import price_moes

LAYER = MoeCase(64, 4096, 2048, 64, 8)
FEW = dataclasses.replace(LAYER, tokens=4)
MANY = dataclasses.replace(LAYER, tokens=8192)
SHARED = dataclasses.replace(LAYER, ep=8, exchange=False)
EXPERTS = {
    "triton-experts": [
        ("h100", LAYER),
        ("h100", MANY),
        ("h100", dataclasses.replace(MANY, intermediate=8192)),
        ("l40s", MANY),
        ("l40s", dataclasses.replace(MANY, dtype="fp8", blocks=True)),
    ],
    "cutlass-experts": [
        ("h100", dataclasses.replace(LAYER, dtype="fp8")),
        ("b200", dataclasses.replace(LAYER, kernels="cutlass")),
    ],
    "trtllm-experts": [
        ("b200", case)
        for case in (
            LAYER,
            dataclasses.replace(LAYER, dtype="fp8", blocks=True),
            dataclasses.replace(MANY, dtype="fp8", blocks=True, ep=8, exchange=False),
        )
    ],
    "marlin": [
        ("h100", dataclasses.replace(case, weight_dtype=dtype, kernels="marlin"))
        for case in (FEW, LAYER, MANY)
        for dtype in ("int4", "fp4")
    ],
    "openai-experts": [
        ("h100", dataclasses.replace(case, weight_dtype="fp4")) for case in (LAYER, SHARED)
    ],
    "quantization": [("h100", dataclasses.replace(MANY, dtype="fp8", blocks=True))],
}
ATTENTION = [
    ("h100", AttentionCase(64, 32, 8, 128, 4096, "decode")),
    ("h100", AttentionCase(64, 32, 8, 128, 256, "decode", kv_dtype="fp8")),
    ("h100", AttentionCase(4, 32, 8, 128, 128, "prefill")),
    ("h100", AttentionCase(4, 16, 16, 128, 4096, "prefill", dtype="fp8")),
    ("h100", AttentionCase(4, 8, 8, 512, 1024, "prefill")),
    ("b200", AttentionCase(8, 32, 8, 128, 2048, "prefill")),
    ("b200", AttentionCase(64, 32, 8, 128, 4096, "decode")),
    ("b200", AttentionCase(2, 16, 4, 96, 2048, "prefill", dtype="fp8")),
    ("a100", AttentionCase(4, 32, 32, 512, 4096, "prefill")),
    ("h100", AttentionCase(16, 8, 1, 128, 1300, "decode", buffers=3)),
    ("l40s", AttentionCase(4, 32, 8, 128, 4096, "prefill", kv_dtype="fp8")),
]


def prices(library: str, *overrides: str) -> list[float]:
    """Seconds of operators on which a library's values bear."""

    def chip(name: str) -> Chip:
        return load_chip(name, overrides)

    found = [price_moes(chip(name), [case])[0].time_s for name, case in EXPERTS.get(library, ())]
    if library == "quantization":
        shapes = np.array([[8, 1024, 1024], [512, 4096, 4096], [512, 8192, 64]])
        found += api.matmul_seconds(chip("h100"), shapes, "fp8", quantize=True).tolist()
        found += api.matmul_seconds(chip("b200"), shapes, "nvfp4", quantize=True).tolist()
    if library == "nvfp4":
        shapes = np.array([[64, 8192, 128], [8192, 8192, 8192]])
        gb200 = load_chip("gb200", (*overrides, "chip.power.tdp=300W"))
        for one in (chip("b200"), gb200):
            found += api.matmul_seconds(one, shapes, "nvfp4").tolist()
    if library == "cublas":
        shapes = np.array([[1, 4096, 32], [2048, 64, 2048], [256, 4096, 4096], [8192, 8192, 8192]])
        for name in ("h100", "a100", "l40s"):
            for buffers in (0, 6):
                found += api.matmul_seconds(
                    chip(name), shapes, "bf16", rotating_buffers=buffers, replay=buffers == 0
                ).tolist()
        found += api.matmul_seconds(chip("h100"), shapes, "fp8").tolist()
    if library == "fused-attention":
        found += [price_attentions(chip(name), [case])[0].time_s for name, case in ATTENTION]
        found += latent_seconds(chip("h100"), [LatentCase(1, 16, 64, "prefill", False)])
    return found


def files() -> list[Path]:
    return [Path(find_config("libraries", name)) for name in list_names("libraries")]


VALUES = [(library, field) for library in LIBRARY_TYPES for field in own_keys(library)]
USUAL = {library: prices(library) for library in LIBRARY_TYPES}


def shipped(library: str, field: str) -> float:
    found = getattr(load_libraries(), library.replace("-", "_"))
    units = (getattr(found, f"{field}{unit}", None) for unit in ("", "_ps", "_pj"))
    value: float = next(value for value in units if value is not None)
    return value


def scaled(library: str, field: str, factor: float) -> str:
    """The override that multiplies a value."""
    value = shipped(library, field) * factor
    timed = f"{field}_ps" in LIBRARY_TYPES[library]._fields
    text = f"{round(value)} ps" if timed else f"{value:g}"
    text += " pJ" if f"{field}_pj" in LIBRARY_TYPES[library]._fields else ""
    return f"library.{library}.{field}={text}"


def test_every_library_has_one_file_with_its_name() -> None:
    assert sorted(SCHEMAS) == list_names("libraries") == [file.stem for file in files()]
    assert list(SCHEMAS) == [*LIBRARY_TYPES, "all-reduce"]
    names = [name.replace("-", "_") for name in SCHEMAS]
    assert names == list(KernelLibraries._fields)


def test_every_value_has_a_source_and_lies_between_bounds() -> None:
    for name in LIBRARY_TYPES:
        for row in describe(name, "library").rows[3:]:
            assert row.source not in (None, "default"), row.path
            assert row.confidence is not None, row.path
    assert main(["config", "check", *map(str, files())]) == 0


def test_what_was_chosen_by_looking_at_times_says_so() -> None:
    looked = re.compile(r"\bleast .*error|\bfitted\b|\bsame fit\b|chosen with|\bas \w+_shot\b")
    for name in SCHEMAS:
        for row in describe(name, "library").rows:
            if looked.search(row.source or ""):
                assert row.confidence == "fitted", row.path


def test_every_value_has_a_place_of_its_own_in_the_vector() -> None:
    libraries = load_libraries()
    vector = pack_chip(load_chip("h100"), "bf16")[LIBRARY_VALUES:TILES]
    values = [value for library in libraries[:-1] for value in library]
    assert len(values) == len(vector) == len(LIBRARY_FIELDS)
    for value, packed in zip(values, vector, strict=True):
        # to the last bit
        assert value == (packed / PER_MILLION if isinstance(value, float) else packed)
    places = [
        place
        for name, place in vars(library_vector).items()
        if isinstance(place, int) and name != "LIBRARY_VALUES"
    ]
    # these decide other fields as a chip is packed, and no kernel reads them
    packed_only = ("l2_kept", "switching_share", "accumulator_bits", "mac_energy")
    read = [
        LIBRARY_VALUES + index
        for index, name in enumerate(LIBRARY_FIELDS)
        if not name.endswith(packed_only)
    ]
    assert sorted(places) == read


@pytest.mark.parametrize(("library", "field"), VALUES)
def test_every_value_counts_in_some_price(library: str, field: str) -> None:
    """And by being an argument of the kernels: none is compiled again for it."""
    # half of an L2's lines is the least that it can keep
    factor = 0.8 if field == "l2_kept" else 0.5
    assert prices(library, scaled(library, field, factor)) != USUAL[library]


LATER = [
    *(("triton-experts", field) for field in ("promotion_ops", "wave_loss", "kept_ramp")),
    *(("cutlass-experts", field) for field in ("launch", "latencies")),
    *(("trtllm-experts", f) for f in ("scaled", "gated", "absent", "route", "blocks_launch")),
    *(("marlin", field) for field in ("launch", "latencies")),
    *(("openai-experts", field) for field in ("weight_bits", "shared_launch")),
    *(("cublas", field) for field in ("l2_write_cost", "trip")),
    *(("quantization", field) for field in ("gap", "row", "further", "group")),
    ("cublas", "hbm_byte"),
    *(("fused-attention", f) for f in ("scan", "update", "update_eight_bit", "small_kernel")),
    ("fused-attention", "wave_loss"),
]
SOONER = [
    *((name, "overlap_order") for name in ("cutlass-experts", "trtllm-experts", "marlin")),
    *(("triton-experts", field) for field in ("overlap_order", "sharers", "cluster_tiles")),
    *(("marlin", field) for field in ("macs", "integers", "floats")),
    *(("cublas", field) for field in ("overlap_order", "boost")),
    ("quantization", "pass_elements"),
    *(("fused-attention", f) for f in ("overlap_order", "ahead_overlap_order", "cluster_tiles")),
    *(("fused-attention", f) for f in ("softmax_overlap_order", "exponentials")),
    *(("fused-attention", f) for f in ("rounded_elements", "transposed_bytes", "generic_elements")),
]


@pytest.mark.parametrize(("library", "field"), LATER)
def test_more_time_or_work_is_never_faster(library: str, field: str) -> None:
    more = prices(library, scaled(library, field, 1.8))
    assert all(a >= b for a, b in zip(more, USUAL[library], strict=True))
    assert more != USUAL[library]


@pytest.mark.parametrize(("library", "field"), SOONER)
def test_higher_rates_and_more_overlap_are_never_slower(library: str, field: str) -> None:
    more = prices(library, scaled(library, field, 2))
    assert all(a <= b for a, b in zip(more, USUAL[library], strict=True))


def test_a_launch_is_paid_once() -> None:
    own, later = prices("marlin"), prices("marlin", "library.marlin.launch=52 us")
    assert later == pytest.approx([time + 10e-6 for time in own], rel=1e-12)


def test_an_array_without_multiprocessors_has_no_libraries() -> None:
    assert load_chip("tpu-v6e").libraries is None
    assert load_chip("h100").libraries == load_libraries()


def test_a_chip_made_in_python_has_the_usual_ones() -> None:
    own = load_chip("h100")
    bare = dataclasses.replace(own, libraries=None)
    assert (pack_chip(bare, "bf16") == pack_chip(own, "bf16")).all()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_marlin(path: Path, old: str = "value: 594", new: str = "value: 297") -> Path:
    text = Path(find_config("libraries", "marlin")).read_text()
    assert old in text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace(old, new))
    return path


def test_a_file_of_the_users_own_comes_first(folder: Path) -> None:
    before = load_chip("h100")
    own_marlin(folder / "configs/libraries/marlin.yaml")
    after = load_chip("h100")
    assert before.libraries is not None and after.libraries is not None
    assert (before.libraries.marlin.macs, after.libraries.marlin.macs) == (594, 297)
    assert after.libraries.cutlass_experts == before.libraries.cutlass_experts


def test_a_chip_names_a_file_beside_its_own(folder: Path) -> None:
    own_marlin(folder / "chips/slow.yaml")
    text = Path(find_config("chips", "h100")).read_text()
    chip = folder / "chips/mine.yaml"
    chip.write_text(f"{text}\nlibraries:\n  marlin: ./slow.yaml\n")
    found = load_chip(chip).libraries
    assert found is not None and found.marlin.macs == 297
    chip.write_text(f"{text}\nlibraries:\n  marlin: slow\n")
    with pytest.raises(InputError, match="unknown library 'slow'") as caught:
        load_chip(chip)
    place = caught.value.location
    assert place is not None and place.file == str(chip) and place.column == 11
    chip.write_text(f"{text}\nlibraries: {{marlin: quantization}}\n")
    for read in (load_chip, check_file):
        with pytest.raises(InputError, match="file of quantization, expected one of marlin"):
            read(chip)
    with pytest.raises(InputError, match="libraries are a GPU's software"):
        load_chip("tpu-v6e", ["chip.libraries={marlin: marlin}"])


@pytest.mark.parametrize(
    ("old", "new", "said", "hint", "place"),
    [
        ("value: 594", "value: -1", "macs: '-1' is negative", "", (6, 15)),
        ("value: 594", "value: 0", "macs: '0' is zero", "more than 0", (6, 15)),
        ("value: 594", "value: nan", "macs: 'nan' is not a finite number", "", (6, 15)),
        ("value: 42 us", "value: 42", "launch: '42' has no unit", "us", (17, 17)),
        ("value: 0.36", "value: 0", "latencies: '0' is zero", "", (13, 20)),
        ("value: 0.9,", "value: 1.1,", "fullest: '1.1' is too large", "0.001 to 1", (15, 18)),
        ("overlap_order", "overlap_oder", "unknown key 'overlap_oder'", "overlap_order", (11, 1)),
        ("kernels: marlin", "kernels: merlin", "kernels: unknown value", "marlin", (4, 10)),
        ("kernels: marlin\n", "", "missing key 'kernels'", "triton-experts", (2, 1)),
        ("kind: library", "kind: chip", "this is a chip file, expected a library", "", (2, 7)),
    ],
)
def test_a_wrong_file_gives_one_clear_error(
    folder: Path, old: str, new: str, said: str, hint: str, place: tuple[int, int]
) -> None:
    own_marlin(folder / "configs/libraries/marlin.yaml", old, new)
    with pytest.raises(InputError) as caught:
        load_chip("h100")
    error = caught.value
    where = error.location
    assert said in error.message and hint in (error.hint or "")
    assert where is not None and where.file == "configs/libraries/marlin.yaml"
    assert (where.line, where.column) == place


@pytest.mark.parametrize(
    ("override", "said", "hint"),
    [
        ("library.marln.macs=5", "unknown library 'marln'", "marlin"),
        ("library.marlin.mac=5", "unknown key 'mac' in 'library.marlin'", "macs"),
        ("library.marlin=5", "'library.marlin' names no key", "macs"),
        ("library.marlin.launch=5", "launch: '5' has no unit", "us"),
        ("library.marlin.kernels=cublas", "found 'cublas' for a file of marlin", "libraries"),
        ("libary.marlin.macs=5", "unknown root 'libary'", "library"),
    ],
)
def test_overrides_name_a_library_and_a_key(override: str, said: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        load_chip("h100", [override])
    assert said in caught.value.message and hint in (caught.value.hint or "")


def test_an_override_takes_what_was_compared_away() -> None:
    assert load_chip("h100").validation
    assert not load_chip("h100", ["library.marlin.macs=600"]).validation


def test_a_shown_library_takes_no_values_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "cublas", "--set", "library.marlin.macs=3"]) == 3
    said = capsys.readouterr()
    assert said.out == "" and "'library.marlin' is not this library" in said.err
