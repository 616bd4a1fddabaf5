"""The benchmark of whether Bayesian optimisation pays: its design, its records and its tables."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution

TUNING = "fine-tuning"
METHODS = ("tpe+hyperband", "random", "grid", "top-k", "one-at-a-time")  # the quick ones
Params = Mapping[str, Any]


@pytest.fixture
def pays(script_folder: Path) -> Any:
    return importlib.import_module("pays")


@pytest.fixture
def records(script_folder: Path) -> Any:
    return importlib.import_module("pays_records")


@pytest.fixture
def report(script_folder: Path) -> Any:
    return importlib.import_module("pays_report")


class Bowl:
    """A world of one rate whose best is 0.03; the error falls with the epoch."""

    epochs = 4
    rate = "lr"
    best, median = 0.1, 0.3

    def __init__(self) -> None:
        self.hand: Mapping[str, list[Params]] = {"hand/two": [{"lr": 0.3}, {"lr": 0.03}]}

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        return {"lr": FloatDistribution(1e-3, 1.0, log=True)}

    def curve(self, params: Params, repeat: int) -> list[float]:
        return [self.quality(params) + 0.2 * 2.0**-epoch for epoch in range(1, 5)]

    def quality(self, params: Params) -> float:
        return float(0.1 + 0.4 * abs(np.log10(params["lr"] / 0.03)) / 1.5)

    def placing(self) -> Callable[[Params], Params]:
        return dict

    def about(self) -> str:
        return "a bowl"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, pays: Any) -> Callable[..., dict[str, Any]]:
    """Runs a search in a bowl: its record."""
    world = Bowl()
    monkeypatch.setattr(pays, "_world", lambda name, files: world)

    def run(method: str, repeat: int = 0, budget: int = 5, share: float = 1.0) -> dict[str, Any]:
        cell = pays.Cell(TUNING, method, share, budget, repeat)
        return {**vars(cell), **pays.run_cell(cell, (None, None, None))}

    return run


@pytest.mark.parametrize("method", METHODS)
def test_every_method_spends_no_more_than_its_budget(run: Any, method: str) -> None:
    record = run(method, share=0.5)
    assert 0 < record["spent"] <= 5
    costs = [cost for cost, _, _ in record["trace"]]
    assert costs == sorted(costs)
    assert all(found == pytest.approx((q - 0.1) / 0.2, abs=1e-5) for _, found, q in record["trace"])


def test_a_list_by_hand_is_run_in_order_and_its_best_stays(run: Any) -> None:
    record = run("hand/two")
    assert record["spent"] == 2
    assert [cost for cost, _, _ in record["trace"]] == [0.25, 2.0]
    assert record["trace"][-1][1:] == [0.0, pytest.approx(0.1)]


def test_the_design_has_each_cell_once_and_is_balanced_when_cut_off(records: Any) -> None:
    groups = {TUNING: TUNING, "a": "TaskSet", "b": "TaskSet"}
    cells = records.design(groups, {name: ["hand/x"] for name in groups}, 1000)
    assert len(set(cells)) == len(cells)
    of_random = Counter(c.world for c in cells if (c.method, c.share) == ("random", 1.0))
    assert of_random == {TUNING: records.REPEATS[TUNING], "a": 12, "b": 12}
    half = Counter(c.world for c in cells[: len(cells) // 2] if c.method == "random")
    assert 40 * 3 <= half[TUNING] <= 60 * 3


def test_records_survive_a_line_that_was_cut_off(records: Any, tmp_path: Path) -> None:
    path, cell = tmp_path / "r.jsonl", records.Cell("w", "random", 1.0, 2, 0)
    store = records.Store(path, {"table": "digest"})
    assert store.describe("w", lambda: "a world") == "a world"
    store.add(cell, {"trace": [[1.0, 0.5, 0.2]], "cpu": 0.1})
    with path.open("a") as file:
        file.write('{"world": "w", "meth')
    again = records.Store(path, {"table": "digest"})
    again.add(cell, {"trace": [], "cpu": 0.1})
    assert [
        records.Cell.of(record) for record in records.Store(path, {"table": "digest"}).records
    ] == [
        cell,
        cell,
    ]
    assert again.describe("w", lambda: pytest.fail("asked again")) == "a world"
    with pytest.raises(click.BadParameter, match="other files"):
        records.Store(path, {"table": "another"})


def test_differences_are_paired_and_their_interval_is_over_worlds_where_there_are_several(
    report: Any,
) -> None:
    ours = {("a", i): (0.0, 0.1 + 0.1 * i) for i in range(10)}
    baseline = {key: (0.0, q + 0.02 + 0.001 * (-1) ** key[1]) for key, (_, q) in ours.items()}
    gap = report.difference(baseline, ours)
    assert gap is not None
    assert gap[0] == pytest.approx(0.02)
    assert gap[2] - gap[1] < 0.002  # that the repeats differ by 0.1 does not matter
    both = report.difference({**baseline, ("b", 0): (0.0, 0.5)}, {**ours, ("b", 0): (0.0, 0.2)})
    assert both is not None
    assert both[0] == pytest.approx((0.02 + 0.3) / 2)
    assert both[3] == 11
    assert report.difference({}, ours) is None


def test_tables_and_figures_show_every_method(run: Any, report: Any) -> None:
    made = [
        run(method, repeat, 10) for method in ("random", "grid", "hand/two") for repeat in range(3)
    ]
    made += [run("top-k", repeat, 10) for repeat in range(3)]
    groups = {TUNING: TUNING}
    found = report.Searches(made, [TUNING], 1.0)
    assert len(found.at("random", 10)) == 3
    assert found.at("top-k", 5) == {}
    text = report.page(made, groups)
    assert "| hand/two |" in text
    drawn = report.figures(made, groups)["regret"]
    assert drawn.count("<text") > 4
    assert "top-k" in drawn
