"""The command line of the replay of published servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import published_servers

HEAD = "system,n_accel,model,precision,workload,metric,value\n"


def test_help_is_of_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        published_servers.main(["--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_no_file_is_a_question_of_grammar(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        published_servers.main([])
    assert ended.value.code == 2
    assert "FILE.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"", "has no column system"),
        (b"system,model\nh100,x\n", "has no column n_accel"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    content: bytes | None, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "published.csv"
    if content is not None:
        path.write_bytes(content)
    assert published_servers.main([str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert str(path) in err and expected in err


def test_a_folder_and_an_unknown_model_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert published_servers.main([str(tmp_path)]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert published_servers.main(["x.csv", "llama"]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "unknown model 'llama'" in err


def test_rows_that_are_not_replayed_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "published.csv"
    row = '{},Llama 3.1 8B,FP8,"ISL/OSL {}, parallelism TP1",output throughput,{}\n'
    bad = [row.format("h100,1", "128/128", value) for value in ("0", "-5", "nan", "inf", "many")]
    bad += [row.format("h100,0", "128/128", "9"), row.format("h100,1", "0/128", "9")]
    path.write_text(
        HEAD + "h100,1,Llama 3.1 8B,FP8,chat,output throughput,1\nshort\n" + "".join(bad)
    )
    assert published_servers.main([str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err.count("not replayed:") == err.count("\n") == 2 + len(bad)
    assert err.count("expected a rate of more than 0") == 5
