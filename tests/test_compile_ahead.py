"""The first run compiles in two processes: what is compiled ahead is what a run then calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator import simulate
from simulator.kernels import folder
from simulator.serving import compile_ahead, loop

ROOT = Path(__file__).parents[1]


class CalledError(Exception):
    """Ends a run at its first call of the loop."""


def types_of(value: Any) -> Any:
    """As numba tells arguments apart: arrays by their elements and axes, integers all alike."""
    if isinstance(value, tuple):
        return tuple(types_of(part) for part in value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim, value.flags.c_contiguous
    return int if isinstance(value, int) else type(value)


def test_the_loop_is_compiled_for_the_types_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def advance(*arguments: Any) -> int:
        calls.append(types_of(arguments))
        raise CalledError

    monkeypatch.setattr(loop, "advance", advance)
    with pytest.raises(CalledError):
        compile_ahead.compile_loop()
    with pytest.raises(CalledError):
        simulate("toy", "llama-toy", "chat")
    ahead, run = calls
    assert ahead == run


class Helper:
    """Stands in for the other process."""

    returncode = None

    def __init__(self, command, **_):
        self.command = command
        self.waited = 0

    def kill(self):
        pass

    def wait(self):
        self.waited += 1
        self.returncode = 0


@pytest.fixture
def helpers(monkeypatch):
    found = []
    monkeypatch.setattr(compile_ahead, "_helpers", found)
    monkeypatch.setattr(subprocess, "Popen", Helper)
    monkeypatch.setattr(compile_ahead.atexit, "register", lambda function: function)
    monkeypatch.setattr(compile_ahead.os, "cpu_count", lambda: 2)
    return found


def test_a_process_for_what_is_not_compiled(helpers, monkeypatch):
    monkeypatch.setattr(compile_ahead, "lacks", lambda kernel: False)
    compile_ahead.start()
    compile_ahead.finish()
    assert helpers == []
    monkeypatch.setattr(compile_ahead, "lacks", lambda kernel: True)
    compile_ahead.start()
    compile_ahead.start()
    (helper,) = helpers
    assert "compile_loop()" in helper.command[-1]
    compile_ahead.finish()
    compile_ahead.finish()
    assert helper.waited == 1


def test_no_process_where_there_is_no_core_for_it(helpers, monkeypatch):
    monkeypatch.setattr(compile_ahead, "lacks", lambda kernel: True)
    monkeypatch.setattr(compile_ahead.os, "cpu_count", lambda: 1)
    compile_ahead.start()
    assert helpers == []


def test_what_is_compiled_is_found_without_numba(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    folder.kernel_folder.cache_clear()
    try:
        assert folder.lacks("loop.advance")
        kept = folder.kernel_folder() / "serving_1234"
        kept.mkdir(parents=True)
        (kept / "loop.advance-136.py311.nbi").write_text("")
        assert not folder.lacks("loop.advance")
        assert folder.lacks("rows.price_rows")
    finally:
        folder.kernel_folder.cache_clear()
    program = (
        "import sys, simulator.serving.compile_ahead as a\n"
        "a.lacks('loop.advance')\n"
        "print([name for name in ('numba', 'numpy', 'subprocess') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


def test_a_folder_that_cannot_be_written_lacks_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(folder.os, "access", lambda *_: False)
    folder.kernel_folder.cache_clear()
    try:
        assert not folder.lacks("loop.advance")
    finally:
        folder.kernel_folder.cache_clear()
