from __future__ import annotations

import io
from dataclasses import replace

import pytest
import result_samples as samples

from simulator.report import figures
from simulator.report.console import make_console, make_table, show
from simulator.report.explain import explanations_text
from simulator.report.explain_results import explain_op, explain_run, explain_step
from simulator.report.json_out import plain, run_json
from simulator.report.op_table import print_op
from simulator.report.run_table import print_run
from simulator.report.step_table import print_step, total_operators
from simulator.serving.results import Distribution


def printed(show, result):
    stream = io.StringIO()
    show(result, make_console(stream))
    text = stream.getvalue()
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    return text


def row(text, start):
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_run_table_shows_every_figure_with_its_unit():
    text = printed(print_run, samples.run())
    assert row(text, "time to first token").split()[-10:] == (
        ["153.0", "ms", "153.0", "ms", "196.2", "ms", "200.3", "ms", "204.5", "ms"]
    )
    assert "19.93 tokens/s" in row(text, "output tokens")
    assert row(text, "hbm").split()[:5] == ["hbm", "80.0", "%", "70.0", "%"]
    assert "30.0 %" in row(text, "MFU")
    assert "60.0 %" in row(text, "MBU")
    assert "7.000 GB" in row(text, "kv")
    assert "50.0 %" in row(text, "KV cache in use, peak")
    assert "12 J" in row(text, "energy")
    assert "2 J" in row(text, "energy, of an output token")
    assert "USD" in row(text, "cost of a million output tokens")
    assert "a larger batch shares the weights" in text
    assert row(text, "all").split()[1:9] == ["ttft", "<=", "200.0", "ms", "2", "50.0", "%", "3.322"]
    assert "ttft 1" in row(text, "all")
    assert "rejected: 1 request: context" in text
    assert "an iteration of a replica has at most 256 sequences and 8,192 tokens" in text
    limits = {"max_batch_sequences": 256, "token_budget_tokens": 8192}
    assert run_json(samples.run())["scheduling"] == {"scheduler": "chunked", **limits}


def test_what_a_warmup_leaves_out_is_said():
    counts = replace(samples.run().requests, completed=9, counted=1)
    options = {**samples.run().options, "warmup_s": 3.0}
    text = printed(print_run, samples.run(requests=counts, options=options))
    assert "of the 1 request that arrived after the warm-up of 3.000 s" in text
    every = replace(counts, counted=9)
    assert "warm-up" not in printed(print_run, samples.run(requests=every, options=options))


def test_run_table_without_completed_requests():
    empty = Distribution(None, None, None, None, None)
    text = printed(print_run, samples.run(ttft_s=empty, tpot_s=empty, energy_j=None, cost_usd=None))
    assert row(text, "time to first token").split()[-4:] == ["-"] * 4
    assert "no energies" in row(text, "energy")


def test_brackets_in_names_are_not_markup():
    assert "[bold]x[/bold]" in printed(print_run, samples.run(workload="[bold]x[/bold]"))


def test_wide_tables_break_shapes_and_keep_names_and_figures_whole():
    name = "experts.attention_output_reduce"
    shape = "128 sequences, 128 heads, latent 512, and more of it"
    cells = (f"{name} x58", shape, "10.00 us", "0.0 %", "latency", "21.28 GFLOP", "78.06 MB")
    columns = ("operator", "<shape", "time", "share", "<bound by", "flops", "HBM bytes")
    stream = io.StringIO()
    console = make_console(stream)
    show(console, make_table(console, "Operators", columns, [cells]), "done")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Operators"  # nothing above the first table
    assert all(line == line.rstrip() and len(line) <= 100 for line in lines)
    assert row(stream.getvalue(), name).endswith(
        "10.00 us  0.0 %  latency   21.28 GFLOP   78.06 MB"
    )


def test_lines_break_between_words_and_not_before_a_unit():
    stream = io.StringIO()
    show(make_console(stream), "a " + "word " * 18 + "12.5 ms, 3 % and 4 [b] more")
    lines = stream.getvalue().splitlines()
    assert [len(line) <= 100 for line in lines] == [True, True]
    assert lines[1].startswith("12.5 ms, 3 %") or lines[0].endswith("12.5 ms,")
    assert " ".join(lines) == "a " + "word " * 18 + "12.5 ms, 3 % and 4 [b] more"


def test_a_bubble_is_shown_where_there_is_one():
    for share in (0.0, 0.25):
        bound = {"matrix": 1 - share, "bubble": share}
        step = printed(print_step, samples.step(bound_by=bound))
        run = printed(print_run, samples.run(bound_by=bound))
        assert ("bubble" in step, "bubble" in run) == (share > 0, share > 0)


def test_step_table_adds_up_layers():
    text = printed(print_step, samples.step())
    assert row(text, "qkv x2").split() == (
        ["qkv", "x2", "4x8x12", "600.0", "ps", "60.0", "%", "matrix", "1.536", "kFLOP", "832", "B"]
    )
    host = ["host", "overhead", "100.0", "ps", "10.0", "%", "host"]
    assert row(text, "host overhead").split() == host
    assert "4.000e9 tokens/s" in row(text, "throughput")


def test_operator_totals():
    totals = {total.label: total for total in total_operators(samples.step().operators)}
    assert list(totals) == ["embedding", "qkv x2", "attention x2"]
    assert totals["qkv x2"].time_ps == 600
    assert totals["qkv x2"].flops == 2 * 768
    assert totals["attention x2"].bound_by == "hbm"


def test_totals_are_bound_by_what_took_the_most_time():
    spans = [
        samples.span("layer0.out", 0, 10, bound_by="hbm"),
        samples.span("layer1.out", 10, 15, bound_by="sram"),
        samples.span("layer2.out", 15, 40, bound_by="matrix"),
    ]
    assert total_operators(spans)[0].bound_by == "matrix"


def test_op_table():
    text = printed(print_op, samples.matmul())
    assert "200 cycles" in row(text, "cycles")
    assert "150 cycles (75.0 %)" in row(text, "computing")
    assert "50 cycles (25.0 %)" in row(text, "stalled")
    assert "4 x 8 x 12" in row(text, "tile")
    assert "costs 10 cycles more (5.0 %)" in row(text, "runner-up")
    assert "none" in row(printed(print_op, samples.matmul(runner_up=None, tile=None)), "runner-up")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (2.0, "2.000 s"),
        (0.9999, "999.9 ms"),
        (0.99999, "1.000 s"),
        (3e-12, "3.000 ps"),
        (1234.5, "1,234 s"),
    ],
)
def test_durations(value, text):
    assert figures.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.2345e-5, "1.234e-5"),
        (-2e-120, "-2.000e-120"),
        (0.00012345, "0.0001234"),
        (0.3, "0.3000"),
        (0.997, "0.9970"),
        (0, "0"),
    ],
)
def test_small_rates(value, text):
    assert figures.rate(value, "tokens") == f"{text} tokens/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.000 kB"), (999_960, "1.000 MB"), (918e12, "918.0 TB")],
)
def test_scaled(value, text):
    assert figures.scaled(3.958e-7, "J") == "395.8 nJ"
    assert figures.scaled(0.2575, "J") == "257.5 mJ"
    assert figures.scaled(1234.0, "J") == "1.234 kJ"
    assert figures.bytes_text(value) == text


def test_explanations_give_the_figures_of_the_table():
    system = samples.system()
    # 1 TFLOP/s and 100 GB/s a chip, two chips, 0.3 s: the formulas must give mfu 0.3 and mbu 0.6
    found = {item.figure: item for item in explain_run(samples.run(), system)}
    mfu = found["MFU"].values
    top = mfu["time_s"] * mfu["peak_flops_per_s"] * mfu["chips"]
    assert mfu["flops"] / top == pytest.approx(0.3)
    mbu = found["MBU"].values
    assert mbu["min_bytes"] / (mbu["time_s"] * mbu["bandwidth_bytes_per_s"] * mbu["chips"]) == (
        pytest.approx(0.6)
    )
    text = explanations_text(list(found.values()))
    assert "= 180.0 GFLOP / (0.3 s x 1.000 TFLOP/s x 2) = 30.0 %" in text
    assert "chip.hbm.bandwidth = 100.0 GB/s" in text
    assert found["cost"].text.startswith("= 2 x 1.5 USD/h")


def test_explanations_of_step_and_op():
    system = samples.system()
    step = {item.figure: item for item in explain_step(samples.step(), system)}
    assert "= 900.0 ps + 100.0 ps = 1.000 ns" in step["time of the step"].text
    op = {item.figure: item for item in explain_op(samples.matmul(), system.chip)}
    assert op["cycles"].text == "= 150 + 50 = 200"
    assert "the highest, hbm, is 2.5 % of the price" in op["lower bounds"].text
    assert op["time"].formula == "cycles / clock"
    slow = replace(system.chip, sustained_clock=0.5)
    slowed = {item.figure: item for item in explain_op(samples.matmul(), slow)}["time"]
    assert slowed.formula == "cycles / sustained clock"
    assert slowed.values["chip.sustained_clock"] == 0.5
    for item in [*step.values(), *op.values()]:
        assert item.formula
        plain(item.as_json())


@pytest.mark.parametrize(
    ("value", "text"),
    [(999_999_999.0, "999,999,999 USD"), (1e9, "1.000e9 USD"), (1.2345e21, "1.234e21 USD")],
)
def test_huge_amounts_are_powers_of_ten(value, text):
    assert figures.usd(value) == text
    assert figures.rate(value, "x").split()[0] == text.split()[0]


def test_every_row_of_run_and_step_is_explained():
    system = samples.system()
    run = {item.figure for item in explain_run(samples.run(), system)}
    shown = {
        *("between two tokens (ITL)", "output tokens of a chip", "output tokens of a user"),
        *("in the system, mean", "iterations, batch and tokens", "preemptions"),
        *("KV cache in use", "cost", "cost of a million output tokens"),
    }
    assert shown <= run
    step = {item.figure: item for item in explain_step(samples.step(), system)}
    assert {"arithmetic of the model", "HBM traffic", "fabric traffic"} <= set(step)
    text = explanations_text(explain_run(samples.run(), system))
    found = samples.run()
    assert f"/ {found.chips} = " in text
    spent = found.cost_usd / found.requests.output_tokens * 1e6
    assert f"= {figures.usd(spent)}" in " ".join(text.split())


def test_a_narrow_table_breaks_heads_and_texts_and_no_figure():
    columns = ("users", "tokens/s/chip", "requests each", "TTFT p50", "KV peak", "<verdict")
    rows = [("1,024", "187,351", "1.5", "16.00 us", "0.0 %", "within the SLO, one at a time")]
    for width in (62, 70, 80):
        stream = io.StringIO()
        console = make_console(stream)
        console.width = width
        show(console, make_table(console, "Curve", columns, rows))
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        for figure in rows[0][:-1]:
            assert figure in stream.getvalue(), (width, figure)


def narrow_lines(columns, rows, width):
    stream = io.StringIO()
    console = make_console(stream)
    console.width = width
    show(console, make_table(console, "Table", columns, rows))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return lines


def test_a_narrow_table_breaks_no_number_of_a_shape():
    columns = ("operator", "<shape", "time", "share", "<bound by", "flops", "HBM bytes")
    rest = ("235.5 us", "41.8 %", "latency", "12.88 GFLOP", "201.3 MB")
    rows = [
        ("attention_output_reduce x32", "64x4096x28672", *rest),
        ("logits", "1000x16384x128256", *rest),
    ]
    for width in (70, 80, 90, 100):
        words = " ".join(narrow_lines(columns, rows, width)).replace("x", "x ").split()
        for word in ("64x", "4096x", "28672", "1000x", "16384x", "128256", "12.88", "GFLOP"):
            assert word in words, (width, word)


def test_the_heads_of_a_narrow_table_break_after_strokes_and_between_words():
    times = ("18.13 ms", "48.15 ms", "11.45 ms", "11.63 ms")
    heads = ("TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99")
    columns = ("users", "tokens/s/chip", "tokens/s/user", *heads, "KV peak", "<front")
    lines = narrow_lines(columns, [("32", "1,488", "54.35", *times, "49.1 %", "*")], 80)
    assert lines[1].split() == ["tokens/s/", "tokens/", "KV"]
    assert lines[2].split()[:3] == ["users", "chip", "s/user"]
    columns = ("rate, req/s", "copies", "requests", "met", "goodput, req/s", *heads[:2], "<verdict")
    row = ("5.345", "1", "1,000", "100.0 %", "5.166", *times[:2], "within the SLO")
    lines = narrow_lines(columns, [row], 80)
    assert lines[1].split() == ["rate,", "goodput,"]
    assert lines[-1].split()[-3:] == ["within", "the", "SLO"]
