"""The verdict is as often wrong as it says: a small version of the benchmark, with a fixed seed.

The limits are those of the benchmark's targets, 5% +- 2 points and the like, plus three standard
errors of so few simulations.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from tuneoff.search.results.compare import compare
from tuneoff.search.results.decision.look import outcome_of
from tuneoff.search.results.decision.rule import Rule

SIMULATIONS = 400
LUCK = 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)  # of a share near 5%


@pytest.fixture
def script(script_folder: Path) -> ModuleType:
    return importlib.import_module("verdict_calibration")


@pytest.fixture
def worlds(script_folder: Path) -> ModuleType:
    return importlib.import_module("verdict_worlds")


class TestFalseAlarms:
    @pytest.mark.slow
    @pytest.mark.parametrize("repeats", [6, 20])
    def test_of_an_arm_and_itself(
        self, script: ModuleType, worlds: ModuleType, repeats: int
    ) -> None:
        found = script.tally(worlds.World(), 0.0, (repeats, repeats), SIMULATIONS)
        assert found.share("better", "worse") == pytest.approx(0.05, abs=0.02 + LUCK)
        assert found.covered == 1 - found.share("better", "worse")

    @pytest.mark.slow
    def test_until_decided(self, script: ModuleType, worlds: ModuleType) -> None:
        found = script.tally(worlds.World(), 0.0, (6, 20), SIMULATIONS)
        assert 0 < found.share("better", "worse") <= 0.07 + LUCK
        assert found.repeats > 19

    @pytest.mark.slow
    def test_looking_often_at_plain_intervals_is_what_they_guard_against(
        self, script: ModuleType, worlds: ModuleType
    ) -> None:
        """The simulation sees what it is there to see: 95% at every look misses far too often."""
        rng, wrong = np.random.default_rng(0), 0
        for _ in range(SIMULATIONS):
            drawn = worlds.simulate(worlds.World(), 0.0, 20, rng)
            intervals = [drawn.estimate(n).interval() for n in range(6, 21)]
            wrong += any(outcome_of(one, None) != "undecided" for one in intervals)
        assert wrong / SIMULATIONS > 0.1

    def test_a_baseline_that_picks_the_same_in_all_repeats(
        self, script: ModuleType, worlds: ModuleType
    ) -> None:
        found = script.tally(worlds.World("one"), 0.0, (8, 8), SIMULATIONS)
        assert 0 < found.share("better", "worse") <= 0.07 + LUCK


class TestCoverage:
    @pytest.mark.slow
    @pytest.mark.parametrize("noise", ["normal", "skewed", "heavy-tailed"])
    @pytest.mark.parametrize("picks", ["own", "mostly one"])
    def test_of_intervals(
        self, script: ModuleType, worlds: ModuleType, noise: str, picks: str
    ) -> None:
        world = worlds.World(picks, noise=noise, seeds=(1, 2, 5))
        found = script.tally(world, 1.0, (8, 8), SIMULATIONS)
        assert found.covered == pytest.approx(0.95, abs=0.02 + LUCK)


class TestEquivalence:
    @pytest.mark.slow
    @pytest.mark.parametrize("last", [8, 20])
    def test_a_difference_of_the_declared_margin(
        self, script: ModuleType, worlds: ModuleType, last: int
    ) -> None:
        world = worlds.World(between=0.5)
        found = script.tally(world, 2.0, (8, last), SIMULATIONS, script.declared(2.0))
        assert 0 < found.share("equivalent") <= 0.05 + LUCK

    def test_a_difference_of_the_seeds_noise(self, script: ModuleType, worlds: ModuleType) -> None:
        found = script.tally(worlds.World(between=0), 1.0, (20, 20), SIMULATIONS, script.from_seeds)
        assert 0 < found.share("equivalent") <= 0.07 + LUCK

    @pytest.mark.slow
    def test_alike_arms_are_called_so(self, script: ModuleType, worlds: ModuleType) -> None:
        found = script.tally(
            worlds.World(between=0.5), 0.0, (6, 20), SIMULATIONS, script.declared(1.0)
        )
        assert found.share("equivalent") > 0.9
        assert found.repeats < 16


@pytest.mark.parametrize("picks", ["own", "mostly one"])
def test_compare_says_what_the_interval_says(worlds: ModuleType, picks: str) -> None:
    """Record by record: the simulations of the estimator are simulations of a study's verdict."""
    rng, outcomes = np.random.default_rng(0), set()
    for difference in (-1.0, 0.0, 0.5, 2.0) * 4:
        drawn = worlds.simulate(worlds.World(picks), difference, 8, rng)
        interval = drawn.estimate(8).interval()
        pair = compare(worlds.results_of(drawn, 8, Rule(8, 8, 0.018))).pairs[0]
        assert pair.quality == outcome_of(interval, 1.8)
        assert (pair.low, pair.high) == pytest.approx((0.01 * interval[0], 0.01 * interval[1]))
        outcomes.add(pair.quality)
    assert len(outcomes) >= 3


@pytest.mark.slow
def test_power_is_as_planned(script: ModuleType) -> None:
    """80%, or up to 90 where one repeat fewer would have too little."""
    rows = list(script.power(SIMULATIONS))[1:]
    assert len(rows) == 8
    for _, _, _, decided in rows:
        assert 74 <= float(decided) <= 93


@pytest.mark.slow
def test_the_tables_are_printed(script: ModuleType) -> None:
    names = ["--table", "three-baselines", "--table", "share"]
    done = CliRunner().invoke(script.command, ["--simulations", "20", *names])
    assert done.exit_code == 0, done.output
    rows = re.findall(r"^\| (?!---)(.*) \|$", done.output, flags=re.MULTILINE)
    assert len(rows) == 2 + 4
    assert all(len(row.split(" | ")) == 4 for row in rows)
