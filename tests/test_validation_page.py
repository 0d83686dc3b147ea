"""The page of ``validate --html``: what its script looks for is in the page, and it parses."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.config.names import find_config
from simulator.report.validation_script import SCRIPT, STYLE


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    rows = folder / "t.csv"
    lines = [f"{m},64,64,bf16,{1e-5 * m}" for m in range(1, 80)]
    rows.write_text("\n".join(["m,k,n,dtype,measured_s", *lines]) + "\n")
    page = folder / "page.html"
    words = ("toy", "--operator", "matmul", "--table", str(rows), "--html", str(page))
    assert main(["validate", *words]) == 0
    return page.read_text()


def data(text):
    return json.loads(text.split('id="data">')[1].split("</script>")[0])["plots"]


def test_ids_that_the_script_finds_are_in_the_page_once(text):
    markup = text.split('<script type="application/json"')[0]
    ids = re.findall(r'\bid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    made = set(re.findall(r"\bid: '([^']+)'", SCRIPT))
    used = set(re.findall(r"\bfind\('([^']+)'\)", SCRIPT))
    assert {"data", "plot", "choice", "worst", "chosen", "errors", "summary"} <= used
    assert used <= {*ids, *made, "data"}
    assert set(re.findall(r"#([a-z]+)\b(?=[^;{}]*\{)", STYLE)) <= {*ids, *made}


def test_fields_that_the_script_reads_are_in_the_data(text):
    (plot,) = data(text)
    assert set(re.findall(r"\bp\.([a-z]\w*)", SCRIPT)) <= set(plot)
    assert len(plot["inputs"]) == len(plot["measured"]) == len(plot["regime"]) == 79
    assert plot["worst"] == 60
    off = [abs(p / m - 1) for p, m in zip(plot["predicted"], plot["measured"], strict=True)]
    assert len(set(map(len, plot["inputs"]))) == 1 == len({len(plot["names"])} - {0})
    assert max(off) == max(off[: plot["worst"]])


def test_rows_are_looked_up_by_what_marks_them(text):
    """A click finds the row of a point, of a line among the worst, or the table of an error."""
    assert 'data-plot="0"' in text
    assert "line.dataset.row = i" in SCRIPT
    assert "'data-row': i" in SCRIPT
    for attribute in set(re.findall(r"closest\('tr\[data-(\w+)\]'\)", SCRIPT)):
        assert f"line.dataset.{attribute}" in SCRIPT
    for listener in ("svg", "worst", "find('errors')"):
        assert f"{listener}.addEventListener('click'" in SCRIPT
    assert "worst.addEventListener('keydown'" in SCRIPT


def test_every_function_of_the_script_is_called():
    for name in re.findall(r"^function (\w+)", SCRIPT, re.MULTILINE):
        assert len(re.findall(rf"\b{name}\b", SCRIPT)) > 1, name


def test_the_script_parses(tmp_path):
    quoted = re.compile(r"'(?:\\.|[^'\\\n])*'|/\\\.\?0\+\$/")
    bare = re.sub(r"//.*|/\*.*?\*/", "", quoted.sub("", SCRIPT))
    depth = []
    for mark in re.findall(r"[()\[\]{}]", bare):
        if mark in "([{":
            depth.append(mark)
        else:
            assert depth.pop() + mark in ("()", "[]", "{}")
    assert not depth
    assert "'" not in bare
    node = shutil.which("node")
    if node is not None:
        path = tmp_path / "page.js"
        path.write_text(SCRIPT)
        subprocess.run([node, "--check", str(path)], check=True)


def test_the_script_cannot_be_ended_by_data(text):
    assert text.count("</script>") == 2
    assert "</" not in text.split('id="data">')[1].split("</script>")[0]


def test_commands_price_with_the_chip_and_the_settings_that_were_given(tmp_path, capsys):
    """A file of a chip bears the chip's name; a command with that name would price another."""
    chip = tmp_path / "my chip.yaml"
    chip.write_text(Path(find_config("chips", "toy")).read_text())
    rows = tmp_path / "t.csv"
    rows.write_text("m,k,n,measured_s\n1,64,64,1e-5\n")
    page = tmp_path / "page.html"
    words = ("--operator", "matmul", "--table", str(rows), "--html", str(page))
    setting = "chip.operator_overhead=2 us"
    assert main(["validate", str(chip), "--set", setting, *words]) == 0
    (plot,) = data(page.read_text())
    assert plot["chip"] == "toy"
    assert shlex.split(plot["machine"]) == [str(chip)]
    assert [shlex.split(text) for text in plot["settings"]] == [[setting]]
    assert "' --chip ' + p.machine + sets" in SCRIPT
    assert "' --set system.chip=' + p.machine" in SCRIPT
    capsys.readouterr()
    words = ("1x64x64", "--chip", str(chip), "--set", setting, "--format", "json")
    assert main(["op", "matmul", *words]) == 0
    priced = json.loads(capsys.readouterr().out)
    assert priced["time_s"] == pytest.approx(plot["predicted"][0], rel=1e-5)


def test_several_tables_are_added_up_and_reached_by_keys(tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ("--operator", "copy", "--html", str(page), "--format", "json")
    assert main(["validate", "tpu-v7x-die", "tpu-v6e", *words]) == 0
    (total,) = json.loads(capsys.readouterr().out)["totals"]
    text = page.read_text()
    sums = text.split('<table id="totals">')[1].split("</table>")[0]
    assert f'<td>2 chips</td><td class="n">{total["count"]}</td>' in sums
    assert f'<td class="n">{total["mape_percent"]:.1f}</td>' in sums
    lines = re.findall(r"<tr[^>]*data-plot[^>]*>", text)
    assert all('tabindex="0"' in line for line in lines)
    assert "find('errors').addEventListener('keydown'" in SCRIPT


def test_colours_of_a_dark_page_replace_those_of_a_light_one():
    light, dark = re.findall(r":root \{([^}]*)\}", STYLE)
    defined = set(re.findall(r"(--\w+):", light))
    assert set(re.findall(r"var\((--\w+)\)", STYLE)) <= defined
    assert defined - set(re.findall(r"(--\w+):", dark)) <= {"--accent"}
    rest = STYLE.replace(light, "").replace(dark, "")
    assert not re.findall(r":[^;{}]*#[0-9a-f]{3,6}", rest)
