"""Figures of engines' all-reduce kernels: a library's file, of which every value counts."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.config import find_config, load_system
from simulator.config.catalog import describe
from simulator.config.loader import load_chip, load_libraries
from simulator.errors import ChipsimError, InputError
from simulator.fabric.collectives import price_collective
from simulator.hardware.engine_kernels import ENGINES
from simulator.hardware.fabric import Fabric
from simulator.hardware.kernel_libraries import AllReduce

SIZES = (4096, 300 * 2**10, 6 * 2**20, 40 * 2**20)
FIGURES = [
    (row.path.removeprefix("library.all-reduce."), row.value, row.unit)
    for row in describe("all-reduce", "library").rows[3:]
]
"""(key, value, unit) of everything in the file, defaults included."""


def times(fabric: Fabric) -> list[int]:
    """Picoseconds of all sizes under the rules of every engine that has kernels for the fabric."""
    found = []
    for engine in ENGINES:
        for size in SIZES:
            try:
                found.append(price_collective(fabric, "all-reduce", size, algorithm=engine).time_ps)
            except ChipsimError:
                found.append(-1)
    return found


@cache
def prices(*overrides: str) -> list[int]:
    return [
        time
        for chips in (2, 4, 8)
        for time in times(load_system(f"h100:{chips}", overrides).fabric)
    ]


def scaled(key: str, value: float, unit: str, factor: float) -> str:
    text = f"{value * factor:g}" if key.endswith(("hops", "per_rank", "trip")) else ""
    text = text or f"{int(value * factor)}{' B' if unit == 'B' else ''}"
    return f"library.all-reduce.{key}={text}"


GIVEN = [figure for figure in FIGURES if figure[1]]
IDS = [key for key, _, _ in GIVEN]


def test_the_file_has_the_fields_and_every_given_value_a_source() -> None:
    assert list(AllReduce._fields) == list(
        dict.fromkeys(key.split(".")[0] for key, _, _ in FIGURES)
    )
    for row in describe("all-reduce", "library").rows[3:]:
        assert row.source == "default" or row.confidence is not None, row.path


@pytest.mark.parametrize(("key", "value", "unit"), GIVEN, ids=IDS)
def test_every_figure_counts_and_more_work_is_later(key: str, value: float, unit: str) -> None:
    more = prices(scaled(key, value, unit, 2))
    usual = prices()
    if key.endswith("window"):
        # twice as much under way; a tenth of it is felt
        assert all(a <= b for a, b in zip(more, usual, strict=True))
        more = prices(scaled(key, value, unit, 0.1))
    assert all(a >= b for a, b in zip(more, usual, strict=True))
    if key != "round_trip":
        assert more != usual


def test_a_longer_round_trip_slows_a_kernel_that_waits_for_its_window() -> None:
    set_of = ["system.fabric.hop_latency=5 us"]
    usual = times(load_system("h100:8", set_of).fabric)
    longer = times(load_system("h100:8", [*set_of, "library.all-reduce.round_trip=2"]).fabric)
    assert longer != usual and all(a >= b for a, b in zip(longer, usual, strict=True))


def test_hops_are_what_the_closed_form_says() -> None:
    """10 passes more of 0.748 us, exactly; the launches and bytes stay."""
    usual = load_system("h100:8").fabric
    more = load_system("h100:8", ["library.all-reduce.pull_one_shot.hops=13.45"]).fabric
    own, later = (
        price_collective(fabric, "all-reduce", 4096, algorithm="vllm-0.18").time_ps
        for fabric in (usual, more)
    )
    assert later - own == 10 * usual.hop_latency_ps


def test_fabrics_of_files_bring_the_figures_and_those_of_python_have_the_usual_ones() -> None:
    for name in ("h100:8", "gb200:8", "h100:8x2"):
        fabric = load_system(name).fabric
        while fabric.inner is not None:
            fabric = fabric.inner
        assert fabric.engine is not None
        assert fabric.engine.kernels == load_libraries().all_reduce
    assert load_system("tpu-v6e:2x2").fabric.engine is None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_file(path: Path, old: str, new: str) -> None:
    text = Path(find_config("libraries", "all-reduce")).read_text()
    assert old in text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace(old, new, 1))


def test_a_file_of_the_users_own_comes_first_and_a_chip_may_name_one(folder: Path) -> None:
    own_file(folder / "slow.yaml", "value: 3.45", "value: 34.5")
    chip = Path(find_config("chips", "h100")).read_text()
    (folder / "mine.yaml").write_text(f"{chip}\nlibraries: {{all-reduce: ./slow.yaml}}\n")
    engine = load_system("h100:8", ["system.chip=./mine.yaml"]).fabric.engine
    assert engine is not None and engine.kernels is not None
    assert engine.kernels.pull_one_shot.hops == 34.5
    assert load_chip("h100").libraries == load_libraries()
    usual = load_system("h100:8").fabric
    # what is remembered of a system goes with the files of its libraries
    own_file(folder / "configs/libraries/all-reduce.yaml", "value: 3.45", "value: 34.5")
    assert load_libraries().all_reduce.pull_one_shot.hops == 34.5
    assert load_system("h100:8").fabric != usual


def test_a_changed_kernel_is_not_what_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    step = ["step", "h100:8", "llama3-8b", "--phase", "decode", "--batch", "4", "--context", "128"]
    change = ["--set", "library.all-reduce.pull_one_shot.hops=34.5"]
    found = []
    for more in ([], change):
        assert main([*step, *more, "--format", "json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[1]["time_s"] > found[0]["time_s"]
    compared = [{entry["operator"] for entry in each["accuracy"]} for each in found]
    assert compared[0] - compared[1] == {"collective"} and "matmul" in compared[1]


PULL = (13, 17)


@pytest.mark.parametrize(
    ("old", "new", "said", "hint", "place"),
    [
        ("value: 3.45", "value: -1", "hops: '-1' is negative", "", PULL),
        ("value: 3.45", "value: nan", "hops: 'nan' is not a finite number", "", PULL),
        ("value: 3.45", "value: 1e9", "hops: '1e9' is too large", "0 to 1000", PULL),
        ("value: 3.45", "value: three", "hops: expected a fraction, found 'three'", "", PULL),
        ("value: 3.45", "value: [3]", "hops: expected", "", (13, 3)),
        ("value: 288 KiB", "value: 288", "window: '288' has no unit", "KiB", (15, 19)),
        ("value: 288 KiB", "value: 0 B", "window: '0 B' is zero", "", (15, 19)),
        ("  hops:", "  hopps:", "unknown key 'hopps'", "hops", (13, 3)),
        ("  hops_per_rank", "  hops", "duplicate key 'hops'", "", (14, 3)),
        ("pull_one_shot:", "pull_on_shot:", "unknown key 'pull_on_shot'", "pull_one_shot", (12, 1)),
        ("value: 4,", "value: 1.5,", "copies: '1.5' is not a whole number", "", (39, 19)),
        ("value: 3, ", "value: 0, ", "launches: '0' is zero", "", (44, 21)),
        ("round_trip: {", "round_trip: {value: 2, ", "duplicate key 'value'", "", (7, 24)),
    ],
)
def test_a_wrong_file_gives_one_clear_error(
    folder: Path, old: str, new: str, said: str, hint: str, place: tuple[int, int]
) -> None:
    own_file(folder / "configs/libraries/all-reduce.yaml", old, new)
    with pytest.raises(InputError) as caught:
        load_system("h100:8")
    error = caught.value
    where = error.location
    assert said in error.message and hint in (error.hint or "")
    assert where is not None and where.file == "configs/libraries/all-reduce.yaml"
    assert (where.line, where.column) == place


@pytest.mark.parametrize(
    ("override", "said", "hint"),
    [
        ("library.all-reduce.pull_on_shot.hops=5", "unknown key 'pull_on_shot'", "pull_one_shot"),
        ("library.all-reduce.pull_one_shot.hop=5", "unknown key 'hop'", "hops"),
        ("library.all-reduce.pull_one_shot=5", "expected a mapping, found '5'", ""),
        ("library.all-reduce.pull_one_shot={}", "sets nothing", ""),
        ("library.all-reduce=5", "'library.all-reduce' names no key", "round_trip"),
        ("library.all-reduse.round_trip=5", "unknown library 'all-reduse'", "all-reduce"),
        ("library.all-reduce.round_trip=inf", "not a finite number", ""),
        ("library.all-reduce.round_trip=0", "is zero", "more than 0"),
        ("library.all-reduce.multicast.window=710", "has no unit", "kB"),
        ("library.all-reduce.kernels=cublas", "found 'cublas' for a file of all-reduce", ""),
    ],
)
def test_overrides_are_checked_whatever_the_system_is(override: str, said: str, hint: str) -> None:
    for name in ("h100:8", "tpu-v6e:2x2"):
        with pytest.raises(InputError) as caught:
            load_system(name, [override])
        assert said in caught.value.message and hint in (caught.value.hint or "")


def test_collective_takes_values_of_the_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = ["collective", "all-reduce", "16KiB", "--system", "h100:8", "--format", "json"]

    def seconds(*change: str) -> float:
        assert main([*one, "--algorithm", "tensorrt-llm-1.3", *change]) == 0
        return float(json.loads(capsys.readouterr().out)["time_s"])

    usual = seconds()
    five, nine = (
        seconds("--set", f"library.all-reduce.lamport_one_shot.hops={hops}") for hops in (5, 9)
    )
    assert nine - usual == pytest.approx((five - usual) * (9 - 1.3) / (5 - 1.3))
    assert five > usual
