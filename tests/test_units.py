from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.units import format_bytes, format_rate, format_time, parse_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("16 GiB", "bytes", 16 * 2**30),
        ("50MB", "bytes", 50_000_000),
        ("1.5 KiB", "bytes", 1536),
        ("819 GB/s", "bandwidth", 819 * 10**9),
        ("1.2TB/s", "bandwidth", 1_200_000_000_000),
        ("2 GiB/s", "bandwidth", 2**31),
        ("100 Gbps", "bandwidth", 12_500_000_000),
        ("1.503 GHz", "frequency", 1_503_000_000),
        ("1e-3 GHz", "frequency", 1_000_000),
        ("2.8 us", "time", 2_800_000),
        ("500 µs", "time", 500_000_000),
        ("500 μs", "time", 500_000_000),
        ("0 ns", "time", 0),
        ("128", "count", 128),
        ("0.5 pJ", "energy", 0.5),
        ("2 nJ", "energy", 2000.0),
        ("1 mW", "power", 0.001),
        ("1.2 $/h", "price", 1.2),
        ("3 USD/h", "price", 3.0),
        ("10 %", "fraction", 0.1),
        ("0.1", "fraction", 0.1),
        (".25", "fraction", 0.25),
    ],
)
def test_reads_a_quantity_exactly(text, dimension, expected):
    found = parse_quantity(text, dimension)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "dimension", "message", "hint"),
    [
        ("819", "bandwidth", "'819' has no unit", "GB/s"),
        ("819 gb/S", "bandwidth", "unknown unit 'gb/S'", "did you mean '819 GB/s'"),
        ("5 KB", "bytes", "unknown unit 'KB'", "did you mean '5 kB'"),
        ("1 Ghz", "frequency", "unknown unit 'Ghz'", "did you mean '1 GHz'"),
        ("1 fortnight", "time", "unknown unit 'fortnight'", "ps, ns, us"),
        ("nan", "time", "not a finite number", "500 ns"),
        ("-inf s", "time", "not a finite number", "500 ns"),
        (".inf", "fraction", "not a finite number", "10 %"),
        ("-1 s", "time", "'-1 s' is negative", "at least 0"),
        ("", "count", "found nothing", "128"),
        ("fast", "frequency", "found 'fast'", "1.5 GHz"),
        ("4x", "count", "not a plain number", "128"),
        ("1.5", "count", "not a whole number", "128"),
        ("0.5 B", "bytes", "not a whole number of B", "16 GiB"),
        ("1.2.3 GB", "bytes", "found '1.2.3 GB'", "16 GiB"),
        ("1e99 GB", "bytes", "too large", "16 GiB"),
        ("٣ GB", "bytes", "found '٣ GB'", "16 GiB"),
    ],
)
def test_says_what_is_wrong_with_a_quantity(text, dimension, message, hint):
    with pytest.raises(InputError) as caught:
        parse_quantity(text, dimension)
    assert message in caught.value.message
    assert hint in caught.value.hint


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text(max_size=30), st.sampled_from(["bytes", "time", "count", "fraction", "price"]))
def test_any_text_is_a_finite_number_of_at_least_zero_or_an_input_error(text, dimension):
    try:
        value = parse_quantity(text, dimension)
    except InputError:
        return
    assert 0 <= value <= 2**62


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 999))
def test_decimals_are_exact(whole, thousandths):
    found = parse_quantity(f"{whole}.{thousandths:03d} GB/s", "bandwidth")
    assert found == Fraction(whole * 1000 + thousandths, 1000) * 10**9


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (format_bytes(16 * 2**30), "16 GiB"),
        (format_bytes(80e9), "80 GB"),
        (format_bytes(999_600), "1 MB"),
        (format_bytes(0), "0 B"),
        (format_time(0), "0 ps"),
        (format_time(3.5e-9), "3.5 ns"),
        (format_time(999.9e-6), "1 ms"),
        (format_time(65), "65 s"),
        (format_time(7200), "2 h"),
        (format_rate(819e9), "819 GB/s"),
        (format_rate(197e12, "FLOP/s"), "197 TFLOP/s"),
        (format_rate(0.0123, "req/s"), "0.0123 req/s"),
    ],
)
def test_formats_with_three_digits(shown, expected):
    assert shown == expected


@pytest.mark.parametrize(
    ("text", "dimension", "meant"),
    [
        ("3.35 TB", "bandwidth", "'3.35 TB/s'"),
        ("3.35TBps", "bandwidth", "'3.35 TB/s'"),
        ("3.35 TB per s", "bandwidth", "'3.35 TB/s'"),
        ("3.35 T", "bandwidth", "'3.35 TB/s'"),
        ("400 Gb/s", "bandwidth", "'400 Gbps'"),
        ("400 Gbit/s", "bandwidth", "'400 Gbps'"),
        ("80 G", "bytes", "'80 GB'"),
        ("80 Ki", "bytes", "'80 KiB'"),
        ("80 GB/s", "bytes", "'80 GB'"),
        ("1.5 G", "frequency", "'1.5 GHz'"),
        ("5 seconds", "time", "'5 s'"),
        ("700 watts", "power", "'700 W'"),
        ("3 $", "price", "'3 $/h'"),
        ("9 qps", "rate", "'9 req/s'"),
        ("50 percent", "fraction", "'50 %'"),
    ],
)
def test_the_nearest_accepted_form_is_named_and_means_the_same(text, dimension, meant):
    with pytest.raises(InputError) as caught:
        parse_quantity(text, dimension)
    assert f"did you mean {meant}?" in caught.value.hint
    parse_quantity(meant.strip("'"), dimension)


@pytest.mark.parametrize(
    ("text", "dimension"), [("1 EB/s", "bandwidth"), ("2 TB/h", "bandwidth"), ("0.5 J", "energy")]
)
def test_no_unit_of_another_size_is_proposed(text, dimension):
    with pytest.raises(InputError) as caught:
        parse_quantity(text, dimension)
    assert "did you mean" not in caught.value.hint


@pytest.mark.parametrize("text", ["3,35 TB/s", "1_000 GB/s", "1/3 GB/s"])
def test_what_is_no_number_is_not_called_a_unit(text):
    with pytest.raises(InputError, match="is not a number with a unit"):
        parse_quantity(text, "bandwidth")


@pytest.mark.parametrize("text", ["1e400", "1e-400 B/s"])
def test_an_exponent_is_no_unit(text):
    with pytest.raises(InputError, match="is out of range"):
        parse_quantity(text, "bandwidth")


@pytest.mark.parametrize(
    ("text", "dimension", "in_bits", "in_bytes"),
    [
        ("80 Gb", "bytes", "10 GB", "80 GB"),
        ("80Gbit", "bytes", "10 GB", "80 GB"),
        ("1 Gib", "bytes", "0.125 GiB", "1 GiB"),
        ("400 Gb", "bandwidth", "400 Gbps", "400 GB/s"),
        ("8 Gib", "bandwidth", "1 GiB/s", "8 GiB/s"),
    ],
)
def test_bits_are_not_taken_for_bytes(text, dimension, in_bits, in_bytes):
    with pytest.raises(InputError) as caught:
        parse_quantity(text, dimension)
    assert f"did you mean '{in_bits}', or '{in_bytes}' (bytes)?" in caught.value.hint
    assert 8 * parse_quantity(in_bits, dimension) == parse_quantity(in_bytes, dimension)
