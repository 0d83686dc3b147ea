import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config.yaml_nodes import Mapping, Scalar, Sequence, parse_yaml, read_yaml
from simulator.errors import InputError


def place(error):
    return error.location.line, error.location.column


def fault(text):
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "f.yaml")
    return caught.value


def test_scalars_stay_text_and_keep_their_place():
    root = parse_yaml("a: no\nb:\n  - 819e9\n  - '1 GB'\n", "f.yaml")
    assert isinstance(root, Mapping)
    assert root.entries["a"].text == "no"
    items = root.entries["b"]
    assert isinstance(items, Sequence)
    assert [(item.text, item.quoted) for item in items.items] == [("819e9", False), ("1 GB", True)]
    assert (items.items[1].location.line, items.items[1].location.column) == (4, 5)
    assert (root.keys["b"].line, root.keys["b"].length) == (2, 1)


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("a: 1\nb: 2\na: 3", "duplicate key 'a'", (3, 1)),
        ("a: &x 1", "anchor '&x'", (1, 4)),
        ("a: *x", "alias '*x'", (1, 4)),
        ("a: !!int 3", "tag 'tag:yaml.org,2002:int'", (1, 4)),
        ("a: [1", "not valid YAML", (2, 1)),
        ("a:\n\tb: 1", "not valid YAML", (2, 1)),
        ("? [a]\n: b", "a key must be a plain word", (1, 3)),
        ("a: 1\n---\nb: 2", "a second document", (2, 1)),
        ("[" * 10_000, "nested more than 64 levels", (1, 65)),
        ("[" * 10_000 + "]" * 10_000, "nested more than 64 levels", (1, 65)),
    ],
)
def test_faults_have_a_place(text, message, where):
    error = fault(text)
    assert message in error.message
    assert place(error) == where


def test_a_duplicate_says_where_the_first_one_is():
    assert fault("x: 1\na: 2\na: 3").hint == "first on line 2"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_an_error(text):
    assert "is empty" in fault(text).message


def test_unreadable_files(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(InputError, match="0xe9 is not UTF-8") as caught:
        read_yaml(tmp_path / "latin.yaml")
    assert place(caught.value) == (2, 4)
    with pytest.raises(InputError, match="is a directory"):
        read_yaml(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot read"):
        read_yaml(tmp_path / ("x" * 300))


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert list(read_yaml(tmp_path / "bom.yaml").entries) == ["a"]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text(alphabet="ab:-[]{},&*!'\"#\n\t ?|>%@\x00é", max_size=40))
def test_any_text_is_a_tree_or_an_input_error(text):
    try:
        node = parse_yaml(text, "f.yaml")
    except InputError:
        return
    assert isinstance(node, Scalar | Mapping | Sequence)
