"""Configurations are kept on disk between commands, and only while nothing they rest on changes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.config import kept, list_names
from simulator.config.loader import _CHIPS, load_any_model, load_chip, load_system, load_workload
from simulator.errors import InputError

ROOT = Path(__file__).parents[1]
CHIP = (ROOT / "configs/chips/toy.yaml").read_text()
PLAIN = ("chip", "mine.yaml", ())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty memory, and a current directory with one chip file."""
    place = tmp_path / "cache" / "configurations-test"
    monkeypatch.setattr(kept, "_folder", lambda: place)
    monkeypatch.setattr(kept, "_variants", set())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(CHIP)
    _CHIPS._known.clear()
    return place


def cold(name="mine.yaml", overrides=()):
    """Load a chip as another process would."""
    _CHIPS._known.clear()
    return load_chip(name, overrides)


def test_what_is_kept_equals_what_was_loaded(folder):
    loaders = {
        "chip": load_chip,
        "system": load_system,
        "model": load_any_model,
        "workload": load_workload,
    }
    for kind, load in loaders.items():
        for name in list_names(f"{kind}s"):
            value = load(name)
            kept.keep((kind, name, ()), kept.Consulted(), value)
            found = kept.find((kind, name, ()))
            assert found is not None
            assert found[1] == value
            assert pickle.dumps(found[1]) == pickle.dumps(value)


def test_a_second_command_reads_no_yaml(folder, monkeypatch):
    first = cold()
    monkeypatch.setitem(sys.modules, "simulator.config.config_files", None)
    assert cold() == first
    with pytest.raises(ImportError):
        cold("mine.yaml", ("chip.clock=2 GHz",))


def test_an_edited_file_is_read_again_even_with_the_old_time_and_size(folder, tmp_path):
    path = tmp_path / "mine.yaml"
    before = path.stat()
    assert cold().clock_hz == 10**9
    assert CHIP.count("clock: 1 GHz") == 1
    path.write_text(CHIP.replace("clock: 1 GHz", "clock: 3 GHz"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert cold().clock_hz == 3 * 10**9


def test_overrides_are_kept_apart(folder):
    assert [cold("toy", (f"chip.clock={n} GHz",)).clock_hz for n in (2, 3, 2)] == [
        2 * 10**9,
        3 * 10**9,
        2 * 10**9,
    ]
    assert cold("toy").clock_hz == 10**9


def test_a_file_of_that_name_nearby_comes_first(folder, tmp_path):
    assert cold("toy").clock_hz == 10**9
    local = tmp_path / "configs" / "chips"
    local.mkdir(parents=True)
    (local / "toy.yaml").write_text(CHIP.replace("clock: 1 GHz", "clock: 5 GHz"))
    assert cold("toy").clock_hz == 5 * 10**9
    # the same process sees it, too
    (local / "toy.yaml").unlink()
    assert load_chip("toy").clock_hz == 10**9


def test_relative_names_follow_the_current_directory(folder, tmp_path, monkeypatch):
    assert cold().clock_hz == 10**9
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    with pytest.raises(InputError, match="does not exist"):
        load_chip("mine.yaml")
    (other / "mine.yaml").write_text(CHIP.replace("clock: 1 GHz", "clock: 2 GHz"))
    assert load_chip("mine.yaml").clock_hz == cold().clock_hz == 2 * 10**9


def test_errors_are_not_kept(folder, tmp_path):
    (tmp_path / "mine.yaml").write_text(CHIP.replace("clock:", "clok:"))
    for _ in range(2):
        with pytest.raises(InputError, match="unknown key 'clok'") as caught:
            cold()
        assert caught.value.location.file == "mine.yaml"
        assert caught.value.location.line is not None
    assert not folder.exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"no pickle",
        pickle.dumps((PLAIN, 1)),
        pickle.dumps((PLAIN, None, None)),
        pickle.dumps(("another", "key", ())),
        b"csimulator.nothing\nhere\n.",
    ],
)
def test_damaged_and_foreign_files_are_ignored(folder, damage):
    first = cold()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert cold() == first
    assert file.read_bytes() == whole
    file.write_bytes(whole[:-40])
    assert cold() == first


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX owners")
def test_files_of_other_users_are_not_read(folder, monkeypatch):
    cold()
    assert kept.find(PLAIN) is not None
    (file,) = folder.iterdir()
    owner = file.stat().st_uid
    monkeypatch.setattr(kept, "_PACKAGE", Path(os.devnull) / "nowhere")
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert kept.find(PLAIN) is None


def test_a_folder_that_cannot_be_written_means_no_memory(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kept, "_folder", lambda: tmp_path / "file" / "below")
    assert cold() == cold()


def test_the_folder_stays_small_and_the_oldest_go(folder, monkeypatch):
    monkeypatch.setattr(kept, "MOST", 3)
    for index in range(6):
        kept.keep(("chip", str(index), ()), kept.Consulted(), index)
        os.utime(kept._file(("chip", str(index), ())), ns=(index, index))
    found = [kept.find(("chip", str(index), ())) is not None for index in range(6)]
    assert found == [False] * 3 + [True] * 3


def test_another_source_leads_to_another_folder(tmp_path, monkeypatch):
    for name in ("config", "hardware", "model", "workload"):
        (tmp_path / name).mkdir()
    for name in ("__init__.py", "units.py", "config/loader.py"):
        (tmp_path / name).write_text("a = 1\n")
    monkeypatch.setattr(kept, "_PACKAGE", tmp_path)
    before = kept._folder.__wrapped__()
    assert before == kept._folder.__wrapped__()
    (tmp_path / "config/loader.py").write_text("a = 2\n")
    assert before != kept._folder.__wrapped__()


def test_a_warm_command_imports_neither_yaml_schemas_nor_pydantic(tmp_path):
    program = (
        "import sys\n"
        "from simulator.config.loader import load_model, load_system, load_workload\n"
        "load_system('tpu-v6e:2x2'), load_model('llama3-8b'), load_workload('chat')\n"
        "heavy = ('yaml', 'pydantic', 'simulator.config.yaml_nodes')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said == ["['yaml', 'pydantic', 'simulator.config.yaml_nodes']\n", "[]\n"]


def test_a_sweep_drives_nothing_out(folder):
    load_chip("toy")
    for rate in range(1, 2 * kept.MOST):
        load_chip("toy", [f"chip.hbm.bandwidth={rate} GB/s"])
    assert len(list(folder.iterdir())) <= 1 + kept.MOST_VARIANTS
    assert kept.find(("chip", "toy", ())) is not None


def test_variants_share_the_file_that_was_read_once():
    """Overrides of one variant are not seen by the next, nor by the file as it is."""
    plain = load_chip("toy")
    for rate in (1, 2, 3):
        section = f"chip.hbm={{bandwidth: {rate} GB/s, latency: {rate} ns}}"
        chip = load_chip("toy", [section, f"chip.hbm.capacity={rate} GB"])
        assert chip.hbm.bandwidth_bytes_per_s == rate * 10**9
        assert chip.hbm.capacity_bytes == rate * 10**9
        assert load_chip("toy", [f"chip.clock={rate + 4} GHz"]).hbm == plain.hbm
