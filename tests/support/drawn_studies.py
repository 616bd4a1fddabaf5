"""Report data of any shape, for tests of figures: drawn by hypothesis, built without a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from tuneoff.search.report.data import ReportData
from tuneoff.search.results.compare import compare
from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.records import (
    ArmFacts,
    ArmRun,
    Recommendation,
    Step,
    StudyResults,
    TrialCurve,
)

EPOCHS: Final = 4
CHANCE: Final = 0.9
NAMES: Final = ("bayes", "hand", "random", "tpe", "mine", "<b>bold</b>", "x" * 64)
WORDS: Final = {"bayes": "Bayesian optimisation", "hand": "hand tuning", "random": "random search"}
STATES: Final = ("complete", "pruned", "diverged", "failed", "paused", "running", "waiting")

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def report_data(
    draw: Draw, *, most_arms: int = 4, most_repeats: int = 5, least_arms: int = 1
) -> ReportData:
    """A study as far as it may have come: of any outcome, with trials in any state.

    Errors come from a small range of round numbers, so that equal ones are frequent.
    """
    arms = tuple(
        draw(st.lists(st.sampled_from(NAMES), min_size=least_arms, max_size=most_arms, unique=True))
    )
    repeats = draw(st.integers(1, most_repeats))
    tested = draw(st.booleans())
    trials: list[TrialCurve] = []
    runs = []
    for arm in arms:
        level = draw(st.integers(0, 60))
        for repeat in range(repeats):
            mine = [_trial(draw, arm, repeat, n, level) for n in range(draw(st.integers(0, 5)))]
            trials += mine
            runs.append(_run(draw, arm, repeat, mine, tested))
    margin = draw(st.none() | st.sampled_from([0.001, 0.02, 0.5]))
    results = StudyResults(
        "drawn",
        arms,
        repeats,
        EPOCHS,
        CHANCE,
        tuple(runs),
        rule=Rule(max(2, repeats), max(2, repeats), margin),
        facts={arm: ArmFacts(WORDS.get(arm, "")) for arm in arms},
        full_epochs=EPOCHS if tested else None,
    )
    return ReportData(results, compare(results), trials)


def _trial(draw: Draw, arm: str, repeat: int, number: int, level: int) -> TrialCurve:
    state = draw(st.sampled_from(STATES))
    epochs = EPOCHS if state == "complete" else draw(st.integers(0, EPOCHS - 1))
    if state == "waiting":
        epochs = 0
    errors = {epoch: draw(st.integers(level, level + 30)) / 100 for epoch in range(1, epochs + 1)}
    params = {
        "lr": draw(st.sampled_from([1e-4, 1e-3, 1e-2, 0.1, 1.0])),
        "layers": draw(st.integers(1, 4)),
        "nesterov": draw(st.booleans()),
        "schedule": draw(st.sampled_from(["cosine", "step", "<i>flat</i>"])),
        "fixed": 1.0,
    }
    return TrialCurve(arm, repeat, number, state, params, errors, epochs)


def _run(draw: Draw, arm: str, repeat: int, trials: list[TrialCurve], tested: bool) -> ArmRun:
    spent = 0
    steps = []
    for trial in trials:
        if not trial.epochs or trial.state == "running":
            continue
        spent += trial.epochs
        diverged = trial.state == "diverged"
        error = CHANCE if diverged else trial.errors[trial.epochs]
        full = trial.state == "complete"
        steps.append(Step(spent, trial.number, trial.epochs, error, full, diverged))
    full_runs = [step for step in steps if step.full]
    recommended = None
    if full_runs:
        best = min(full_runs, key=lambda step: step.error)
        tests: tuple[float, ...] = ()
        if tested:
            off = st.integers(-3, 3)
            seeds = draw(st.lists(off, min_size=1, max_size=3))
            tests = tuple(min(1.0, max(0.0, best.error + by / 200)) for by in seeds)
        params = trials[best.trial].params
        recommended = Recommendation(best.trial, params, best.error, tests, tests)
    states = Counter(trial.state for trial in trials)
    return ArmRun(arm, repeat, 5 * EPOCHS, spent, 60.0, states, tuple(steps), recommended)
