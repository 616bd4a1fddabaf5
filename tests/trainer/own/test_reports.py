"""The file to which a command reports: read as it grows, nonsense refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.trainer.own.reports import LONGEST_LINE, BadReport, Report, Reports, parse


def test_nothing_is_read_before_the_file_is_there(tmp_path: Path) -> None:
    assert Reports(tmp_path / "none", after=0, last=3).new() == []


@given(st.lists(st.integers(1, 60), max_size=20))
def test_however_the_file_grows_every_line_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[int]
) -> None:
    path = tmp_path_factory.mktemp("reports") / "report"
    whole = "".join(json.dumps({"epoch": e, "value": e / 7}) + "\n" for e in range(3, 9)).encode()
    reports, read, written = Reports(path, after=2, last=8), list[Report](), 0
    for size in [*pieces, len(whole)]:
        with path.open("ab") as file:
            file.write(whole[written : written + size])
        written += size
        read += reports.new()
    assert read == [Report(epoch, epoch / 7) for epoch in range(3, 9)]
    assert reports.epoch == 8


def test_the_test_value_is_read_and_what_else_there_is_passed_over() -> None:
    assert parse(b'{"epoch": 2, "value": 1, "test": 0.5, "loss": [3]}') == Report(2, 1.0, 0.5)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "null", "1" + "0" * 400])
def test_a_value_that_is_not_finite_says_that_the_run_diverged(value: str) -> None:
    assert parse(f'{{"epoch": 1, "value": {value}}}'.encode()).diverged


def test_a_test_value_may_be_missing() -> None:
    found = parse(b'{"epoch": 1, "value": 0.5, "test": null}')
    assert found.test is None
    assert not math.isnan(found.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"0.31", 'lacks "epoch" or "value"'),
        (b"epoch 1: 0.31", "is no JSON"),
        (b'{"epoch": 1', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"epoch": 1, "val": 0.3}', 'lacks "epoch" or "value"'),
        (b'{"epoch": "1", "value": 0.3}', "whole number"),
        (b'{"epoch": 1.5, "value": 0.3}', "whole number"),
        (b'{"epoch": true, "value": 0.3}', "whole number"),
        (b'{"epoch": 0, "value": 0.3}', "whole number"),
        (b'{"epoch": 1, "value": "0.3"}', "must be numbers"),
        (b'{"epoch": 1, "value": true}', "must be numbers"),
        (b'{"epoch": 1, "value": 0.3, "test": "x"}', "must be numbers"),
        (b'{"epoch": 2, "value": 0.3}', "epoch 2 when epoch 1 was due"),
        (b'{"epoch": 9, "value": 0.3}', "after the run's last, 5"),
        (b"\xff\x1b[31m", "is no JSON"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "report"
    path.write_bytes(line + b"\n")
    with pytest.raises(BadReport) as error:
        Reports(path, after=0, last=5).new()
    assert says in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_an_epoch_twice_or_out_of_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report"
    one = '{"epoch": 4, "value": 0.3}\n'
    path.write_text(one * 2)
    with pytest.raises(BadReport, match="epoch 4 twice"):
        Reports(path, after=3, last=5).new()
    path.write_text(one.replace("4", "1"))
    with pytest.raises(BadReport, match=r"epoch 1 when epoch 4 was due.*resumable = false"):
        Reports(path, after=3, last=5).new()


def test_a_file_that_is_written_anew_or_has_no_line_ends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text('{"epoch": 1, "value": 0.3}\n')
    reports = Reports(path, after=0, last=5)
    reports.new()
    path.write_text("{}")
    with pytest.raises(BadReport, match="anew"):
        reports.new()
    path.write_text("x" * (LONGEST_LINE + 1))
    with pytest.raises(BadReport, match="without a line end"):
        Reports(path, after=0, last=5).new()
