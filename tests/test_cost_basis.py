"""What the price of a chip's hour is: a rent or the cost of ownership, said beside every cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import result_samples as samples
import yaml

from simulator.api import load_chip
from simulator.cli.entry import main
from simulator.config.names import list_names
from simulator.errors import InputError
from simulator.report.console import make_console
from simulator.report.figures import price_basis
from simulator.report.run_table import print_run


def test_every_price_with_a_source_says_what_it_is() -> None:
    folder = Path(__file__).parents[1] / "configs" / "chips"
    for name in list_names("chips"):
        price = yaml.safe_load((folder / f"{name}.yaml").read_text()).get("price")
        if isinstance(price, dict):
            expected = "ownership" if "ownership" in price["source"] else "rent"
            assert load_chip(name).price_basis == expected, name


def test_a_basis_needs_a_price_and_a_known_name() -> None:
    with pytest.raises(InputError, match="price_basis"):
        load_chip("h100", ["chip.price_basis=rented"])
    with pytest.raises(InputError, match="without a price"):
        load_chip("tpu-v4", ["chip.price_basis=rent"])


def test_a_price_of_ones_own_has_no_basis_unless_it_is_said() -> None:
    assert load_chip("h100", ["chip.price=2 $/h"]).price_basis is None
    both = ["chip.price=2 $/h", "chip.price_basis=ownership"]
    assert load_chip("h100", both).price_basis == "ownership"
    assert load_chip("h100", ["chip.hbm.bandwidth=4 TB/s"]).price_basis == "rent"


def test_one_word_where_all_are_alike_else_chip_by_chip() -> None:
    assert price_basis({}) == price_basis({"toy": None}) == ""
    assert price_basis({"a": "rent", "b": "rent"}) == "rent"
    mixed = {"h100": "rent", "gb300": "ownership", "mine": None}
    assert price_basis(mixed) == "h100 rent, gb300 ownership, mine unsaid"


def test_the_table_of_a_run_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(samples.run(cost_basis={"h100": "rent", "gb300": "ownership"}), make_console())
    assert "a chip-hour (h100 rent, gb300 ownership)" in capsys.readouterr().out


def test_costs_of_unlike_chips_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,4,2\n1,4,2\n")
    words = ["run", "llama-toy", "--trace", str(trace), "--prefill", "h100", "--decode", "gb300"]
    assert main([*words, "--kv-link", "unlimited", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cost_basis"] == {"h100": "rent", "gb300": "ownership"}
