"""Samplers and pruners by reference: proposals as Optuna's own, from the stored history alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import TrialState

from tuneoff import references
from tuneoff.search.errors import SpecError
from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.build import build_policy
from tuneoff.search.policies.tried import try_references
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace

SPACE = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.9, "step": 0.1},
    "schedule": ["step", "cosine"],
}
EPOCHS = 4
OWN = """
from optuna.samplers import BaseSampler, RandomSampler
from optuna.pruners import BasePruner, MedianPruner, PatientPruner

class Counting(RandomSampler):
    '''Draws the more, the more it has been asked and told.'''

    def __init__(self, seed=None, skip=1):
        super().__init__(seed)
        self.skip, self.count = skip, 0

    def after_trial(self, study, trial, state, values):
        self.count += 1

    def sample_independent(self, study, trial, name, distribution):
        for _ in range(self.skip * self.count):
            super().sample_independent(study, trial, name, distribution)
        return super().sample_independent(study, trial, name, distribution)

def counting(seed, skip=1):
    return Counting(seed, skip)

def patient(patience=1):
    return PatientPruner(MedianPruner(), patience)

def nothing():
    pass

class Failing(RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        raise RuntimeError("no idea\\nat all")

class Outside(RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        return 1.5 if name == "momentum" else super().sample_independent(
            study, trial, name, distribution)

class Always(BasePruner):
    def prune(self, study, trial):
        return True

class Broken(BasePruner):
    def prune(self, study, trial):
        raise KeyError("x")
"""
OPTUNA = "optuna.samplers:"
ARMS: dict[str, dict[str, Any]] = {
    "CmaEsSampler": {"popsize": 4},
    "QMCSampler": {"scramble": True},
    "NSGAIISampler": {
        "population_size": 4,
        "crossover": "optuna.samplers.nsgaii:UniformCrossover",
    },
}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's, which this process may run."""
    (tmp_path / "samplers_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(references, "_allowed", {"samplers_of_mine"})


def spec_of(spec_values: Any, arm: dict[str, Any], space: Any = None) -> StudySpec:
    return StudySpec.parse(
        spec_values(arms={"arm": arm}, space=space or SPACE, trial={"epochs": EPOCHS}), "test"
    )


def policy_of(spec_values: Any, arm: dict[str, Any], repeat: int = 0) -> Any:
    spec = spec_of(spec_values, arm)
    return build_policy(spec, SearchSpace.of(spec), "arm", repeat)


def history_of(study: optuna.Study) -> History:
    return History(study, tuple(study.get_trials()), frozenset(), EPOCHS, 1000)


def made(name: str, **options: Any) -> dict[str, Any]:
    return {"sampler": OPTUNA + name, "options": options}


def lived(sampler: Any, distributions: Any, count: int) -> Iterator[tuple[History, dict[str, Any]]]:
    """A search by Optuna itself, with three trials at once of which some fail or are pruned.

    Yields the history before each trial, and what the sampler then proposes.
    """
    study = optuna.create_study(sampler=sampler, study_name="lived")
    draw, running = random.Random(1), []
    for _ in range(count):
        before = history_of(study)
        trial = study.ask(distributions)
        yield before, dict(trial.params)
        running.append(trial)
        while running and (len(running) > 2 or draw.random() < 0.4):
            ended = running.pop(draw.randrange(len(running)))
            if draw.random() < 0.1:
                study.tell(ended, state=TrialState.FAIL)
                continue
            error = (np.log10(ended.params["lr"]) + 2) ** 2 + ended.params["momentum"]
            ended.report(error, 1)
            if draw.random() < 0.2:
                study.tell(ended, state=TrialState.PRUNED)
            else:
                study.tell(ended, error)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ARMS, "Counting"])
def test_a_search_is_as_optuna_would_run_it(spec_values: Any, name: str) -> None:
    """By one process, and by others that begin in its midst, as after a kill -9."""
    arm = made(name, **ARMS.get(name, {}))
    if name == "Counting":
        arm = {"sampler": "samplers_of_mine:Counting"}
    spec = spec_of(spec_values, arm)
    space = SearchSpace.of(spec)
    seed = int(np.random.SeedSequence([spec.seed, 1]).generate_state(1)[0])
    one = build_policy(spec, space, "arm", 1)
    sampler: Any = one
    found: list[dict[str, Any]] = []
    for history, params in lived(sampler.sampler(seed), space.distributions, 24):
        assert one.next(history) == NewTrial(params, EPOCHS)
        if len(found) % 5 == 2:
            other = build_policy(spec, space, "arm", 1)
            assert other.next(history) == NewTrial(params, EPOCHS)
            assert other.next(history) == NewTrial(params, EPOCHS)
        found.append(params)
    assert len({str(params) for params in found}) >= 18


def test_a_trial_that_was_not_proposed_is_learnt_from(spec_values: Any) -> None:
    """A worker that proposed another trial than what was stored forgets it."""
    policy, other = (policy_of(spec_values, made("CmaEsSampler", popsize=4)) for _ in range(2))
    study = optuna.create_study()
    assert policy.next(history_of(study)) is not None
    for _ in range(6):
        study.tell(study.ask(dict(policy.space.distributions)), 0.5)
    assert policy.next(history_of(study)) == other.next(history_of(study))


@pytest.mark.parametrize("name", ["CmaEsSampler", "QMCSampler", "NSGAIISampler"])
def test_trials_of_another_space_do_no_harm(spec_values: Any, name: str) -> None:
    """Somebody added them with Optuna."""
    policy = policy_of(spec_values, made(name, **ARMS[name]))
    study = optuna.create_study()
    odd: list[dict[str, Any]] = [
        {"lr": 7.0, "schedule": "plateau"},
        {"other": 1.0},
        {"momentum": "high"},
    ]
    for params in odd:
        others: Any = {
            key: optuna.distributions.CategoricalDistribution([value])
            for key, value in params.items()
        }
        study.add_trial(optuna.create_trial(params=params, distributions=others, value=0.5))
        job = policy.next(history_of(study))
        assert policy.space.check(job.params) == job.params
        assert policy.next(history_of(study)) == job


def test_a_sampler_that_has_seen_everything_ends_its_search(spec_values: Any) -> None:
    space = {
        "lr": None,
        "momentum": {"low": 0.5, "high": 0.7, "step": 0.1},
        "schedule": ["step", "cosine"],
    }
    spec = spec_of(spec_values, made("BruteForceSampler"), space)
    made_of = SearchSpace.of(spec)
    policy = build_policy(spec, made_of, "arm", 0)
    study = optuna.create_study()
    found = []
    while (job := policy.next(history_of(study))) is not None:
        assert isinstance(job, NewTrial)
        found.append(dict(job.params))
        study.enqueue_trial(dict(job.params))
        study.tell(study.ask(dict(made_of.distributions)), 0.1)
    assert len(found) == 6 == len({str(params) for params in found})


def test_tpe_with_its_options_is_made_anew_for_each_trial(spec_values: Any) -> None:
    """So that it starts where our own "tpe" does, and no study has to be replayed."""
    study = optuna.create_study()
    named = policy_of(spec_values, {"sampler": "tpe", "startup": 3})
    by_reference = policy_of(spec_values, made("TPESampler", n_startup_trials=3))
    univariate = policy_of(spec_values, made("TPESampler", n_startup_trials=3, multivariate=False))
    for n in range(6):
        job = named.next(history_of(study))
        assert by_reference.next(history_of(study)) == job
        study.enqueue_trial(dict(job.params))
        study.tell(study.ask(dict(named.space.distributions)), 0.1 * n)
    assert univariate.next(history_of(study)) != named.next(history_of(study))


def test_repeats_differ(spec_values: Any) -> None:
    study = optuna.create_study()
    found = [
        policy_of(spec_values, made("QMCSampler"), repeat).next(history_of(study))
        for repeat in range(2)
    ]
    assert found[0] != found[1]


# Pruners


def pruned(policy: Any, *curves: list[float]) -> list[int]:
    """How far each of these runs gets."""
    study = optuna.create_study()
    reached = []
    for curve in curves:
        trial = study.ask(dict(policy.space.distributions))
        for epoch, error in enumerate(curve, start=1):
            trial.report(error, epoch)
            history = history_of(study)
            if policy.after(history, history.trials[-1]) is Decision.PRUNE:
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve[-1])
        reached.append(epoch)
    return reached


def test_a_patient_pruner_waits_for_a_run_that_still_improves(spec_values: Any) -> None:
    median: dict[str, Any] = {
        "reference": "optuna.pruners:MedianPruner",
        "options": {"n_startup_trials": 1},
    }
    patient = {"wrapped_pruner": median, "patience": 1}
    arm = {"sampler": "random", "pruner": "optuna.pruners:PatientPruner", "options": patient}
    good, improving, stuck = (
        [0.5] * 6,
        [0.9, 0.8, 0.7, 0.6, 0.55, 0.54],
        [0.9, 0.91, 0.92, 0.93, 0.94, 0.95],
    )
    assert pruned(policy_of(spec_values, arm), good, improving, stuck) == [6, 6, 3]
    named = {"sampler": "random", "pruner": "median", "startup": 1}
    assert pruned(policy_of(spec_values, named), good, improving)[1] < 6


@pytest.mark.parametrize(
    "pruner",
    [
        lambda: SuccessiveHalvingPruner(reduction_factor=2),
        HyperbandPruner,
        lambda: PatientPruner(MedianPruner(), 1),
        pytest.param(WilcoxonPruner, marks=pytest.mark.slow),
    ],
    ids=["successive halving", "hyperband", "patient", "wilcoxon"],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_pruner_of_optunas_answers_the_same_anew_as_kept(
    pruner: Callable[[], BasePruner],
) -> None:
    """Even where it estimates its rungs from the first trials, and keeps them in an attribute."""

    def answers(ask: Callable[[], BasePruner]) -> list[bool]:
        study, draw = optuna.create_study(study_name="asked"), random.Random(1)
        found = []
        for _ in range(24):
            trial, level = study.ask(), draw.random()
            noise = [draw.random() / 5 for _ in range(6)]
            for epoch, more in enumerate(noise, start=1):
                trial.report(level + 1 / epoch + more, epoch)
                found.append(ask().prune(study, study.get_trials()[-1]))
                if found[-1]:
                    break
            if found[-1]:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, level)
        return found

    kept = pruner()
    of_kept = answers(lambda: kept)
    assert of_kept == answers(pruner)
    assert any(of_kept)


def test_a_sampler_and_a_pruner_by_reference_have_options_each(spec_values: Any) -> None:
    arm = {
        **made("QMCSampler"),
        "pruner": "optuna.pruners:ThresholdPruner",
        "pruner_options": {"upper": 0.7},
    }
    policy = policy_of(spec_values, arm)
    assert policy.next(history_of(optuna.create_study())) is not None
    assert pruned(policy, [0.6] * 4, [0.6, 0.8, 0.6, 0.6]) == [4, 2]


def test_a_function_may_make_the_sampler_and_the_pruner(spec_values: Any) -> None:
    """As where their classes come from a place that only code can name, such as OptunaHub."""
    options = {"options": {"skip": 2}}
    by_class, by_function = (
        policy_of(spec_values, {"sampler": MINE + name, **options})
        for name in ("Counting", "counting")
    )
    study = optuna.create_study()
    for _ in range(3):
        proposed = by_function.next(history_of(study))
        assert proposed == by_class.next(history_of(study))
        trial = study.ask(dict(by_class.space.distributions))
        study.tell(trial, trial.params["lr"])
    pruner = {"sampler": "random", "pruner": MINE + "patient", "options": {"patience": 3}}
    assert isinstance(policy_of(spec_values, pruner).pruning.build(), PatientPruner)


# Bad input


def refused(spec_values: Any, arm: dict[str, Any], space: Any = None) -> str:
    spec = spec_of(spec_values, arm, space)
    with pytest.raises(SpecError) as error:
        try_references(spec, SearchSpace.of(spec))
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("arms.arm: ")
    return text


PATIENT = {"sampler": "random", "pruner": "optuna.pruners:PatientPruner"}
MINE = "samplers_of_mine:"


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (made("CmaSampler"), "has no CmaSampler"),
        (made("NopPruner"), "has no NopPruner"),
        ({"sampler": "optuna.pruners:NopPruner"}, "is no BaseSampler"),
        ({"sampler": "not_there_at_all:S"}, "nobody allowed"),
        ({"sampler": MINE + "Countin"}, "has no Countin"),
        ({"sampler": MINE + "Always"}, "is no BaseSampler"),
        ({"sampler": MINE + "nothing"}, "returned NoneType; return a BaseSampler of Optuna"),
        (
            {"sampler": MINE + "counting", "options": {"skp": 1}},
            "takes no option 'skp'; did you mean 'skip'? it takes: skip",
        ),
        ({"sampler": "random", "pruner": MINE + "counting"}, "needs seed"),
        ({"sampler": MINE + "Failing"}, "proposed no configuration: RuntimeError: no idea"),
        ({"sampler": MINE + "Outside"}, "momentum = 1.5 lies outside"),
        ({"sampler": "random", "pruner": MINE + "Broken"}, "KeyError: 'x'"),
        ({"sampler": "random", "pruner": MINE + "Counting"}, "is no BasePruner"),
        (made("QMCSampler", scrambl=True), "did you mean 'scramble'?"),
        (made("QMCSampler", qmc_type="no"), "ValueError"),
        (made("QMCSampler", seed=3), "take seed out"),
        (made("QMCSampler", independent_sampler="optuna.samplers:Nothing"), "has no Nothing"),
        (made("QMCSampler", independent_sampler="other:Sampler"), "nobody allowed"),
        (made("BruteForceSampler"), "FloatDistribution.step"),
        (made("CmaEsSampler", popsize=-3), "popsize"),
        (PATIENT, "needs wrapped_pruner and patience"),
        ({**PATIENT, "options": {"patience": 1}}, "needs wrapped_pruner"),
        (
            {
                **PATIENT,
                "options": {"wrapped_pruner": "optuna.pruners:PercentilePruner", "patience": 1},
            },
            "needs percentile",
        ),
    ],
)
def test_what_cannot_search_is_said_in_one_line(
    spec_values: Any, arm: dict[str, Any], said: str
) -> None:
    assert said in refused(spec_values, arm)


def test_cma_es_searches_numbers(spec_values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = {"lr": None, "schedule": ["step", "cosine"]}
    assert "[space] has none" in refused(spec_values, made("CmaEsSampler"), choices)
    spec = spec_of(spec_values, made("CmaEsSampler"))
    (note,) = try_references(spec, SearchSpace.of(spec))
    assert note == (
        "arms.arm: CmaEsSampler searches numbers alone; schedule will be drawn at random"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install cmaes" in refused(spec_values, made("CmaEsSampler"))


def test_repeats_that_do_not_differ_are_told(spec_values: Any) -> None:
    spec = spec_of(spec_values, made("QMCSampler"))
    (note,) = try_references(spec, SearchSpace.of(spec))
    assert note == (
        "arms.arm: QMCSampler proposes the same in every repeat, which then differ in training "
        "alone; give options = { scramble = true }"
    )
    for arm in (made("QMCSampler", scramble=True), {"sampler": MINE + "Counting"}):
        spec = spec_of(spec_values, arm)
        assert try_references(spec, SearchSpace.of(spec)) == []


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"sampler": "optuna.samplers:"}, 'write it as "module:Class"'),
        ({"sampler": "random", "options": {"x": 1}}, "options is for a sampler or pruner by"),
        ({**made("QMCSampler"), "pruner_options": {"x": 1}}, "pruner_options is for a pruner by"),
        ({**PATIENT, "options": {"a": 1}, "pruner_options": {"b": 2}}, "give one"),
        (made("QMCSampler", **{"not a word": 1}), "is no keyword"),
        (made("QMCSampler", x=float("nan")), "options.x = nan cannot be kept"),
        (made("QMCSampler", x="a: b"), 'options.x = "a: b" is no reference'),
    ],
)
def test_what_no_file_may_say(spec_values: Any, arm: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=r"arms\.arm") as error:
        spec_of(spec_values, arm)
    assert said in str(error.value)


def test_a_spec_with_options_is_stored_and_read_again(spec_values: Any) -> None:
    arm = made("NSGAIISampler", **ARMS["NSGAIISampler"])
    spec = spec_of(spec_values, {**arm, "pruner": MINE + "Always"})
    again = StudySpec.parse(spec.model_dump(mode="json"), "again")
    assert again == spec
    assert again.digest() == spec.digest()
    assert spec.digest() != spec_of(spec_values, {**arm, "options": {}}).digest()
    assert spec.references() == (MINE + "Always",)


def test_the_name_in_reports_is_the_class(spec_values: Any) -> None:
    from tuneoff.search.results.arm_facts import description_of

    spec = spec_of(spec_values, made("QMCSampler"))
    assert description_of(spec.arms["arm"]) == "QMCSampler"
    assert not spec.arms["arm"].learns
    assert spec_of(spec_values, made("CmaEsSampler")).arms["arm"].learns
