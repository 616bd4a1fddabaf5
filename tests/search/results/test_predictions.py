"""What was known when, what was predicted from it, and how often that held."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from statistics import NormalDist
from typing import Any

import markupsafe
import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.policies.base import History, Job
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.curve_gp.model import CurveModel, NotPositiveDefinite
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.predictions import prediction_panels
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.results.predictions import forecasts
from tuneoff.search.results.predictions.forecasts import LEVELS
from tuneoff.search.results.predictions.hindsight import as_of
from tuneoff.search.results.predictions.read import read_predictions
from tuneoff.search.results.predictions.records import ArmPredictions, Axis
from tuneoff.search.results.read import read_results
from tuneoff.search.results.trials import trial_curves
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import SearchState
from tuneoff.search.work.claim import claim
from tuneoff.search.work.worker import work

CURVE_GP = {"bayes": {"sampler": "curve-gp", "startup": 3}}
LR = {"low": 1e-4, "high": 1.0, "log": True}
MOMENTUM = {"low": 0.5, "high": 0.99}
MIXED = {
    "lr": LR,
    "patience": {"low": 1, "high": 4},
    "schedule": ["cosine", "plateau", "step"],
    "flip": [True, False],
    "batch_size": {"low": 16, "high": 512, "log": True},
}
NASTY = '<script>alert("1")</script> & |x| `y`'


def a_trial(number: int, state: TrialState, errors: Sequence[float]) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=errors[-1] if state.is_finished() else None,
        params={"lr": 0.1},
        distributions={"lr": FloatDistribution(1e-4, 1.0, log=True)},
        intermediate_values=dict(enumerate(errors, start=1)),
    )
    made.number = number
    return made


def an_attempt(
    trial: int, number: int, times: tuple[float, float | None], epochs: tuple[int, int], end: Any
) -> Attempt:
    """From ``epochs[0]`` to ``epochs[1]`` between these times."""
    started, ended = times
    first, last = epochs
    return Attempt(
        "tiny/bayes/0", trial, number, f"{trial}.{number}", "me", "", "cpu", started,
        ended or started, ended, end, None, first, 9, last - first, 1.0, 0.0,
    )  # fmt: skip


class TestAsOf:
    """Four trials: one in full, one that came back later, one at work, one that was yet to come."""

    TRIALS = (
        a_trial(0, TrialState.COMPLETE, [0.9, 0.8, 0.7]),
        a_trial(1, TrialState.PRUNED, [0.6, 0.5]),
        a_trial(2, TrialState.COMPLETE, [0.5, 0.4, 0.3]),
        a_trial(3, TrialState.RUNNING, [0.2]),
    )
    ROWS = (
        an_attempt(0, 0, (0.0, 1.0), (0, 1), "paused"),
        an_attempt(1, 0, (1.0, 2.0), (0, 1), "paused"),
        an_attempt(2, 0, (1.0, 2.5), (0, 1), "paused"),
        an_attempt(0, 1, (2.0, 5.0), (1, 3), "finished"),
        an_attempt(2, 1, (2.5, 6.0), (1, 3), "finished"),
        an_attempt(1, 1, (5.0, 7.0), (1, 2), "paused"),
        an_attempt(3, 0, (7.0, None), (0, 1), None),
    )

    def then(self, row: int) -> dict[int, tuple[Any, ...]]:
        """Each trial's state, value and epochs, and what may be done with it."""
        now = SearchState.of(self.TRIALS, self.ROWS)
        was = as_of(now, self.ROWS[row])
        paused = {trial.number for trial in was.paused}
        live = {trial.number for trial in was.live}
        return {
            t.number: (
                t.state.name,
                t.value,
                sorted(t.intermediate_values),
                "paused" if t.number in paused else "live" if t.number in live else "",
            )
            for t in was.trials
        }

    def test_the_first_rung_of_all_knows_itself_alone(self) -> None:
        assert self.then(0) == {0: ("RUNNING", None, [1], "paused")}

    def test_what_others_are_at_work_on_is_known_up_to_where_they_took_it_up(self) -> None:
        assert self.then(1) == {
            0: ("RUNNING", None, [1], "paused"),  # its next attempt starts at this very moment
            1: ("RUNNING", None, [1], "paused"),
            2: ("RUNNING", None, [], "live"),
        }
        assert self.then(2)[0] == ("RUNNING", None, [1], "live")

    def test_a_trial_has_its_value_from_the_end_of_its_last_attempt_on(self) -> None:
        assert self.then(3) == {
            0: ("COMPLETE", 0.7, [1, 2, 3], ""),
            1: ("RUNNING", None, [1], "paused"),
            2: ("RUNNING", None, [1], "live"),
        }

    def test_pruned_at_the_end_of_the_budget_is_paused_before(self) -> None:
        assert self.then(5) == {
            0: ("COMPLETE", 0.7, [1, 2, 3], ""),
            1: ("RUNNING", None, [1, 2], "paused"),
            2: ("COMPLETE", 0.3, [1, 2, 3], ""),
        }

    def test_the_budget_is_what_it_was(self) -> None:
        now = SearchState.of(self.TRIALS, self.ROWS)
        study = optuna.create_study()
        left = [as_of(now, row).history(study, 3, 100).remaining for row in self.ROWS[:6]]
        # Spent, and reserved by attempts that went on: until epoch 9 each.
        assert left == [99, 98 - 9, 97 - 8, 95 - 8, 93 - 8, 92]

    def test_the_stored_trials_stay_as_they_are(self) -> None:
        before = [(t.state, t.value, dict(t.intermediate_values)) for t in self.TRIALS]
        for row in self.ROWS[:6]:
            as_of(SearchState.of(self.TRIALS, self.ROWS), row)
        assert [(t.state, t.value, dict(t.intermediate_values)) for t in self.TRIALS] == before

    def test_a_lost_attempt_leaves_its_trial_to_nobody(self) -> None:
        rows = [
            an_attempt(0, 0, (0.0, 2.0), (0, 2), "lost"),
            an_attempt(1, 0, (1.0, 3.0), (0, 1), "paused"),
        ]
        was = as_of(SearchState.of(self.TRIALS[:2], rows), rows[1])
        assert [trial.number for trial in was.orphans] == [0]
        assert sorted(was.trials[0].intermediate_values) == [1, 2]


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Studies that were run already, by what they were asked to be."""
    return {}


@pytest.fixture
def searched(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, kept: Any
) -> Callable[..., Any]:
    """A study of one curve-gp arm, run to its end: searched(space={...}). Not to be changed."""

    def make(**changes: Any) -> Any:
        if str(changes) not in kept:
            kept[str(changes)] = run(**changes)
        return kept[str(changes)]

    def run(diverges: Any = lambda params, epoch: False, **changes: Any) -> Any:
        values = {
            "arms": CURVE_GP,
            "trial": {"epochs": 9},
            "budget": {"epochs": 63},
            "space": {"lr": LR, "momentum": MOMENTUM},
            **changes,
        }
        study = make_study(sqlite_database, **values)
        work(study, study.arms, make_trainer(diverges=diverges), me, never)
        return study

    return make


def only(study: Any) -> ArmPredictions:
    (prediction,) = read_predictions(Snapshot.of(study))
    return prediction


def told(history: History) -> tuple[Any, ...]:
    """All that a policy is told."""
    rows = [(t.number, t.state, t.value, dict(t.intermediate_values)) for t in history.trials]
    return rows, history.paused, history.remaining


class TestHindsight:
    """What is made from the attempts is what one worker's policy was told at that moment."""

    @pytest.fixture
    def live(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        """What ``next`` is told: before the first attempt, after it, after the second..."""
        calls: list[tuple[Any, ...]] = []
        ask = CurveGP.next

        def listen(policy: CurveGP, history: History) -> Job | None:
            calls.append(told(history))
            return ask(policy, history)

        monkeypatch.setattr(CurveGP, "next", listen)
        return calls

    @pytest.mark.slow
    def test_history(self, searched: Any, live: list[tuple[Any, ...]]) -> None:
        study = searched(diverges=lambda params, epoch: params.lr > 0.5 and epoch == 2)
        (search,) = study.arms
        now = SearchState.of(study.trials(search), attempts.read(study.database, [search.name]))
        rows = sorted((row for rows in now.attempts.values() for row in rows), key=ended)
        assert sum(row.end == "paused" for row in rows) > 8
        for k, row in enumerate(rows[:-1]):
            was = as_of(now, row).history(study.optuna_study(search), 9, 63)
            assert told(was) == live[k + 1]

    @pytest.mark.slow
    def test_forecasts_and_coverage(self, searched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[tuple[int, Any, bool]] = []
        ask = CurveGP.next

        def listen(policy: CurveGP, history: History) -> Job | None:
            state = policy.state(history) if history.trials else None
            made.append((len(history.trials), state, policy.is_opening(history)))
            return ask(policy, history)

        monkeypatch.setattr(CurveGP, "next", listen)
        study = searched(seed=2)
        monkeypatch.undo()
        (search,) = study.arms
        trials = study.trials(search)
        rows = sorted(attempts.read(study.database, [search.name]), key=ended)
        held: dict[int, list[Any]] = {}
        first: dict[int, tuple[Any, ...]] = {}
        for k, row in enumerate(rows[:-1]):
            known, state, opening = made[k + 1]
            if row.end != "paused" or opening:
                continue
            x = next(c.x for c in state.curves if c.number == row.trial)
            mean, sd = state.model.curve(x, np.array([1.0]))
            noisy = math.sqrt(sd[0] ** 2 + state.model.h.noise * state.model.unit**2)
            first.setdefault(row.trial, (row.reached, known, state.warping.unwarp(mean)[0]))
            if trials[row.trial].state == TrialState.COMPLETE:
                reach = noisy * np.array([NormalDist().inv_cdf((1 + p) / 2) for p in LEVELS])
                # As errors: one below the best that was known has no value on the warped scale.
                low = state.warping.unwarp(mean - reach)
                high = state.warping.unwarp(mean + reach)
                value = trials[row.trial].value
                held.setdefault(row.reached, []).append((low <= value) & (value <= high))
        prediction = only(study)
        assert len(held) == 2
        assert prediction.judged == prediction.possible == sum(map(len, held.values())) > 4
        for rung in prediction.coverage:
            assert rung.runs == len(held[rung.epoch])
            assert rung.held == tuple(np.sum(held[rung.epoch], axis=0))
        assert len(prediction.forecasts) >= 3
        for forecast in prediction.forecasts:
            rung, known, final = first[forecast.trial]
            assert (forecast.rung, forecast.known) == (rung, known)
            assert forecast.median[-1] == pytest.approx(max(final, 0.0))


def ended(row: Attempt) -> float:
    assert row.ended is not None
    return row.ended


class TestForecasts:
    @pytest.mark.slow
    def test_the_best_full_runs_then_the_furthest_of_the_others(self, searched: Any) -> None:
        study = searched(seed=1)
        prediction = only(study)
        trials = {t.number: t for t in study.trials(study.arms[0])}
        full = [f for f in prediction.forecasts if f.state == "complete"]
        stopped = [f for f in prediction.forecasts if f.state == "pruned"]
        assert prediction.forecasts == (*full, *stopped)
        values = [trials[f.trial].value for f in full]
        assert values == sorted(values)
        furthest = [max(f.errors) for f in stopped]
        assert furthest == sorted(furthest, reverse=True)
        assert 1 <= len(full) <= 3
        assert 1 <= len(stopped) <= 3
        for f in prediction.forecasts:
            assert f.epochs == tuple(range(f.rung + 1, 10))
            assert f.errors == trials[f.trial].intermediate_values
            assert max(f.errors) > f.rung
            for ordered in zip(f.low90, f.low50, f.median, f.high50, f.high90, strict=True):
                assert ordered[0] >= 0
                assert list(ordered) == sorted(ordered)
                assert ordered[-1] <= 1

    @pytest.mark.slow
    def test_noise_is_part_of_the_intervals(
        self, searched: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = searched()
        monkeypatch.setattr(CurveModel, "curve", known_for_sure)
        for f in only(study).forecasts:
            assert f.low90[-1] < f.low50[-1] < f.high50[-1] < f.high90[-1]


def known_for_sure(model: CurveModel, q: Any, t: Any) -> tuple[Any, Any]:
    return np.zeros(len(t)), np.zeros(len(t))


class TestCoverage:
    @pytest.mark.slow
    def test_intervals_that_hold_everything_and_nothing(
        self, searched: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = searched()

        def anything(model: CurveModel, q: Any, t: Any) -> tuple[Any, Any]:
            return np.zeros(len(t)), np.full(len(t), 1e3)

        def far_off(model: CurveModel, q: Any, t: Any) -> tuple[Any, Any]:
            return np.full(len(t), 50.0), np.full(len(t), 1e-6)

        monkeypatch.setattr(CurveModel, "curve", anything)
        for rung in only(study).coverage:
            assert rung.held == (rung.runs,) * len(LEVELS)
            assert rung.of(0.5) == rung.of(0.9) == rung.runs
        monkeypatch.setattr(CurveModel, "curve", far_off)
        for rung in only(study).coverage:
            assert rung.held == (0,) * len(LEVELS)

    @pytest.mark.slow
    def test_where_a_right_model_lies(self, searched: Any) -> None:
        for rung in only(searched()).coverage:
            for level, lower, upper in zip(rung.levels, rung.lower, rung.upper, strict=True):
                assert 0 <= lower <= level * rung.runs <= upper <= rung.runs

    @pytest.mark.slow
    def test_all_repeats_count(self, searched: Any) -> None:
        study = searched(repeats=2)
        prediction = only(study)
        complete = [
            sum(t.state == TrialState.COMPLETE for t in study.trials(search))
            for search in study.arms
        ]
        best = [min(t.value for t in study.trials(g) if t.value) for g in study.arms]
        assert prediction.repeat == best.index(min(best))
        assert prediction.coverage[0].runs > max(complete) / 2
        assert prediction.judged > len(prediction.coverage) * min(complete)

    @pytest.mark.slow
    def test_a_run_that_diverged_came_to_the_error_of_guessing(self, searched: Any) -> None:
        study = searched(diverges=lambda params, epoch: epoch == 4)
        prediction = only(study)
        values = {t.value for t in study.trials(study.arms[0]) if t.state == TrialState.COMPLETE}
        assert values == {0.9}
        assert {f.state for f in prediction.forecasts} <= {"diverged", "pruned"}
        assert prediction.judged > 0

    @pytest.mark.slow
    def test_a_long_study_is_judged_by_some_of_its_forecasts(
        self, searched: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = searched()
        every = only(study)
        monkeypatch.setattr(forecasts, "MOST_JUDGED", 11)  # about half of them, rounded down
        monkeypatch.setattr(forecasts, "JUDGED_TRIALS", len(study.trials(study.arms[0])) // 2)
        some = only(study)
        assert (some.judged, some.possible) == (5, every.possible)
        assert every.possible > 5


class TestMaps:
    @pytest.mark.slow
    def test_each_pair_of_parameters_at_the_recommendation(self, searched: Any) -> None:
        space = {"lr": LR, "momentum": MOMENTUM, "weight_decay": {**LR, "low": 1e-6}}
        study = searched(space=space)
        prediction = only(study)
        recommended = min(
            (t for t in study.trials(study.arms[0]) if t.state == TrialState.COMPLETE),
            key=lambda t: t.value,
        )
        assert prediction.recommended
        assert (prediction.best, prediction.params) == (recommended.number, recommended.params)
        pairs = [(m.x.name, m.y.name) for m in prediction.maps]
        assert pairs == [("lr", "momentum"), ("lr", "weight_decay"), ("momentum", "weight_decay")]
        first = prediction.maps[0]
        assert first.x.edges[0] == pytest.approx(1e-4)
        assert first.x.edges[-1] == pytest.approx(1.0)
        assert (first.x.log, first.y.log) == (True, False)
        # Where the recommended lies the model has seen what comes; far away it knows less.
        column = int(np.searchsorted(first.x.edges, recommended.params["lr"])) - 1
        row = int(np.searchsorted(first.y.edges, recommended.params["momentum"])) - 1
        assert first.median[row][column] == pytest.approx(recommended.value, abs=0.02)
        assert first.width[row][column] < 0.5 * max(max(line) for line in first.width)

    @pytest.mark.slow
    def test_integers_and_choices_have_a_cell_each(self, searched: Any) -> None:
        prediction = only(searched(space=MIXED))
        assert len(prediction.maps) == 6
        assert len(prediction.left_out) == 1
        axes = {axis.name: axis for m in prediction.maps for axis in (m.x, m.y)}
        assert {*axes, *prediction.left_out} == set(MIXED)
        cells = {"lr": 25, "patience": 4, "schedule": 3, "flip": 2}
        for m in prediction.maps:
            for axis, length in ((m.x, len(m.median[0])), (m.y, len(m.median))):
                assert length == (len(axis.choices) or len(axis.edges) - 1)
                assert length == cells.get(axis.name, length)
        for name, ends in (("patience", (0.5, 4.5)), ("batch_size", (15.5, 512.5))):
            if name in axes:
                assert (axes[name].edges[0], axes[name].edges[-1]) == ends
        if "flip" in axes:
            assert axes["flip"].choices == ("True", "False")

    @pytest.mark.slow
    def test_one_parameter_has_forecasts_and_no_map(self, searched: Any) -> None:
        prediction = only(searched(space={"lr": LR, "momentum": None}))
        assert prediction.maps == ()
        assert prediction.forecasts


class TestPages:
    """What is written: HTML with its figures, Markdown, JSON."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("space", "maps"),
        [
            ({"lr": LR, "momentum": None}, 0),
            ({"lr": LR, "momentum": MOMENTUM}, 1),
            (MIXED, 6),
        ],
        ids=["one parameter", "two", "more than have maps, choices among them"],
    )
    def test_every_figure_and_table_is_there(
        self, space: Any, maps: int, searched: Any, tmp_path: Path
    ) -> None:
        (prediction,), html, content = report(searched(space=space), tmp_path)
        figures = re.findall(r'id="figure-((?:maps|forecasts|coverage)-\d+)-\d+"', html)
        assert Counter(figures) == Counter(
            {
                "maps-0": 2 * maps,  # medians, and widths
                "forecasts-0": len(prediction.forecasts),
                "coverage-0": len(prediction.coverage),
            }
        )
        assert prediction.coverage
        assert all(f"Not shown: {name}, to which" in html for name in prediction.left_out)
        text = (tmp_path / "report.md").read_text(encoding="utf-8")
        assert "## How often bayes's prediction intervals held" in text
        for rung in prediction.coverage:
            assert f"<td>epoch {rung.epoch}</td><td>{rung.runs}</td>" in html
            assert f"| epoch {rung.epoch} | {rung.runs} | {rung.of(0.5)} of {rung.runs} (" in text
        (stored,) = content["predictions"]
        assert [stored["arm"], stored["params"]] == ["bayes", prediction.params]
        assert len(stored["maps"]) == maps
        for rung, kept in zip(prediction.coverage, stored["coverage"], strict=True):
            assert kept["held"] == list(rung.held)

    @pytest.mark.slow
    def test_names_cannot_become_markup(self, searched: Any, tmp_path: Path) -> None:
        study = searched(space=MIXED)
        results = read_results(Snapshot.of(study))
        results = replace(
            results, arms=(NASTY,), runs=tuple(replace(run, arm=NASTY) for run in results.runs)
        )
        prediction = only(study)

        def renamed(axis: Axis) -> Axis:
            return replace(axis, choices=tuple(NASTY + choice for choice in axis.choices))

        maps = tuple(replace(m, x=renamed(m.x), y=renamed(m.y)) for m in prediction.maps)
        assert any(m.x.choices or m.y.choices for m in maps)
        nasty = replace(prediction, arm=NASTY, maps=maps, left_out=(NASTY,), params={NASTY: NASTY})
        page = write_report(ReportData(results, compare(results), predictions=[nasty]), tmp_path)
        html = page.read_text(encoding="utf-8")
        assert "<script>alert" not in html
        assert markupsafe.escape(f"What {NASTY}'s model predicts for a full run") in html
        # Plotly makes mark-up of what it is given: there, too, names are escaped.
        panels = prediction_panels(ReportData(results, compare(results), predictions=[nasty]))
        shown = [str(figure.to_dict()) for panel in panels for figure in panel.figures]
        assert any(escape(NASTY, quote=False) in figure for figure in shown)
        assert not any("<script" in figure for figure in shown)
        text = (tmp_path / "report.md").read_text(encoding="utf-8")
        assert "<script>" not in text.replace(r"\<", "").replace(r"\>", "")


def report(study: Any, out: Path) -> tuple[list[ArmPredictions], str, dict[str, Any]]:
    """Predictions, and the HTML and JSON of the report that has them."""
    found, results = read_predictions(Snapshot.of(study)), read_results(Snapshot.of(study))
    page = write_report(
        ReportData(results, compare(results), trial_curves(Snapshot.of(study)), found), out
    )
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return found, page.read_text(encoding="utf-8"), content


class TestStages:
    """Every stage of a study can be reported."""

    @pytest.mark.slow
    def test_other_samplers_have_no_predictions(self, searched: Any, tmp_path: Path) -> None:
        arms = {"random": {"sampler": "random"}, "hand": {"configs": [{"lr": 0.1}]}}
        study = searched(arms=arms, space={"lr": LR}, budget={"epochs": 18})
        found, html, content = report(study, tmp_path)
        assert found == content["predictions"] == []
        assert "model predict" not in html
        assert "prediction" not in html.split("</script>", 1)[1]

    def test_nothing_before_the_first_epoch(
        self, sqlite_database: Any, make_study: Any, tmp_path: Path
    ) -> None:
        study = make_study(sqlite_database, arms=CURVE_GP)
        found, html, _ = report(study, tmp_path)
        assert found == []
        assert "model predict" not in html

    @pytest.mark.slow
    def test_one_run_at_its_first_rung(
        self, sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, tmp_path: Path
    ) -> None:
        study = make_study(
            sqlite_database,
            arms=CURVE_GP,
            trial={"epochs": 9},
            budget={"epochs": 72},
            space={"lr": LR, "momentum": MOMENTUM},
        )
        answers = iter([False, False, False, False, False])
        work(study, study.arms, make_trainer(), me, lambda: next(answers, True))
        (prediction,), html, _ = report(study, tmp_path)
        assert (prediction.trials, prediction.recommended, prediction.possible) == (1, False, 0)
        assert prediction.forecasts == ()
        assert prediction.coverage == ()
        assert "with the lowest predicted error" in html
        assert 'id="figure-maps-0-0"' in html
        assert 'id="figure-forecasts' not in html
        assert 'id="figure-coverage' not in html

    @pytest.mark.slow
    def test_an_interrupted_study_with_a_dead_workers_attempt(
        self, searched: Any, doomed: Any, make_trainer: Any, me: Any, never: Any, tmp_path: Path
    ) -> None:
        study = searched(seed=1)
        (search,) = study.arms
        before = only(study)
        # Once more, cut off: a worker died at work on the next trial.
        bigger = replace(search, budget=80)
        claimed = claim(study, bigger, doomed)
        attempts.progress(study.database, claimed.attempt, 1, 1.0)
        (prediction,), _, content = report(study, tmp_path)
        assert prediction.coverage == before.coverage
        assert content["predictions"][0]["judged"] == before.judged

    @pytest.mark.slow
    def test_without_a_model_there_is_nothing_to_show(
        self, searched: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        study = searched()

        def fail(policy: CurveGP, history: History) -> None:
            raise NotPositiveDefinite("no jitter helps")

        monkeypatch.setattr(CurveGP, "state", fail)
        found, _, _ = report(study, tmp_path)
        assert found == []
