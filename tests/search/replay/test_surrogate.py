"""A surrogate of runs made from a known function says what that function says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tuneoff.metric import KNOWN
from tuneoff.search.policies.curve_gp.kernel import matern52
from tuneoff.search.replay.draws import Features, PosteriorDraw
from tuneoff.search.replay.evidence import Evidence
from tuneoff.search.replay.quality import quality_of
from tuneoff.search.replay.surrogate import Drawn, Surrogate, TooLittle, fit_curves
from tuneoff.trainer.contract import RunSeed

MakeEvidence = Callable[..., Evidence]
Truth = Callable[[Mapping[str, Any], int], float]

UNSEEN = [{"lr": float(lr), "momentum": m} for lr in (0.002, 0.01, 0.05, 0.3) for m in (0.6, 0.85)]


@pytest.fixture(scope="module")
def surrogate(make_evidence: MakeEvidence) -> Surrogate:
    return Surrogate.of(make_evidence(seeds=2, full=20))


def _mean_error(world: Drawn, params: Mapping[str, Any], epoch: int) -> float:
    seeds = [RunSeed(1, trial, 0) for trial in range(30)]
    return float(np.mean([world.search_error(params, seed, epoch) for seed in seeds]))


@pytest.mark.slow
def test_features_have_the_kernel_of_their_process() -> None:
    random = np.random.default_rng(0)
    points = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [2.0, 0.0]])
    drawn = np.array([Features.drawn(random, 2).at(points) for _ in range(3000)])
    r2 = ((points[:, None] - points[None]) ** 2).sum(2)
    assert np.cov(drawn.T) == pytest.approx(matern52(r2), abs=0.08)
    # A product of two kernels, each of one column.
    drawn = np.array([Features.drawn(random, 1, 1).at(points) for _ in range(3000)])
    product = matern52((points[:, None, 0] - points[None, :, 0]) ** 2)
    product = product * matern52((points[:, None, 1] - points[None, :, 1]) ** 2)
    assert np.cov(drawn.T) == pytest.approx(product, abs=0.08)


@pytest.mark.slow
def test_draws_have_the_mean_and_the_spread_of_the_posterior(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(configurations=15)
    model, _ = fit_curves(evidence)
    t = np.array([0.0, 0.5, 1.0])
    for params in UNSEEN[:3]:
        x = evidence.encoding.columns(params)
        random = np.random.default_rng(3)
        drawn = np.array([PosteriorDraw.drawn(model, random).curve(x, t) for _ in range(300)])
        mean, sd = model.curve(x, t)
        assert PosteriorDraw.mean(model).curve(x, t) == pytest.approx(mean)
        assert np.abs(drawn.mean(0) - mean) == pytest.approx(0, abs=4 * float(sd.max()) / 300**0.5)
        assert drawn.std(0) == pytest.approx(sd, rel=0.25)


@pytest.mark.slow
def test_unseen_configurations_have_their_errors(surrogate: Surrogate, true_error: Truth) -> None:
    for world in (surrogate.draw(None), surrogate.draw(0), surrogate.draw(1)):
        for params in UNSEEN:
            for epoch in (1, 3, 6):
                found = _mean_error(world, params, epoch)
                assert found == pytest.approx(true_error(params, epoch), abs=0.012)


@pytest.mark.slow
def test_noise_between_seeds_is_as_large_as_it_was(make_evidence: MakeEvidence) -> None:
    surrogate = Surrogate.of(make_evidence(configurations=40, seeds=4, noise=0.005))
    good = {"lr": 0.03, "momentum": 0.8}
    seeds = [RunSeed(1, trial, 0) for trial in range(400)]
    errors = [surrogate.draw(0).search_error(good, seed, 6) for seed in seeds]
    assert np.std(errors) == pytest.approx(0.005, rel=0.3)


def test_equal_arguments_give_equal_errors_and_other_worlds_other_ones(
    surrogate: Surrogate,
) -> None:
    seed, params = RunSeed(1, 2, 3), UNSEEN[3]
    first, again, other = surrogate.draw(4), surrogate.draw(4), surrogate.draw(5)
    for ask in ("full_error", "test_error"):
        assert getattr(first, ask)(params, seed) == getattr(again, ask)(params, seed)
    curve = [first.search_error(params, seed, e) for e in range(1, 7)]
    assert curve == [again.search_error(params, seed, e) for e in range(1, 7)]
    assert curve != [other.search_error(params, seed, e) for e in range(1, 7)]


def test_full_training_and_test_error_are_those_of_the_study(
    surrogate: Surrogate, true_error: Truth
) -> None:
    world, params = surrogate.draw(None), {"lr": 0.03, "momentum": 0.8}
    seeds = [RunSeed(1, 1_000_000, replica) for replica in range(200)]
    full = np.array([world.full_error(params, seed) for seed in seeds])
    test = np.array([world.test_error(params, seed) for seed in seeds])
    assert full.mean() == pytest.approx(true_error(params, 6) - 0.02, abs=0.006)
    assert test.mean() - full.mean() == pytest.approx(0.01, abs=0.003)


def test_what_diverged_in_the_study_diverges(make_evidence: MakeEvidence) -> None:
    world = Surrogate.of(make_evidence(diverging=0.2)).draw(0)
    assert world.diverges_in({"lr": 0.8, "momentum": 0.8}, RunSeed()) == 2
    assert world.diverges_in({"lr": 0.01, "momentum": 0.8}, RunSeed()) is None


@pytest.mark.slow
def test_errors_are_counts_of_images(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    few = replace(evidence.task, sizes={"train": 90, "validation": 40, "test": 25})
    world = Surrogate.of(replace(evidence, task=few)).draw(0)
    for params in UNSEEN:
        assert (world.search_error(params, RunSeed(), 6) * 40).is_integer()
        assert (world.test_error(params, RunSeed()) * 25).is_integer()


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_no_value_lies_where_its_metric_has_none(make_evidence: MakeEvidence, scale: float) -> None:
    def auroc(error: float) -> float:
        return -scale * min(1.0, 1.12 - error)

    errors = make_evidence(noise=0.02, full=20)
    short = tuple(
        replace(run, errors={e: auroc(error) for e, error in run.errors.items()})
        for run in errors.short
    )
    full = tuple(
        replace(run, validation=auroc(run.validation), test=auroc(run.test or 0.0))
        for run in errors.full
    )
    evidence = replace(errors, short=short, full=full, metric=KNOWN["AUROC"])
    world, good = Surrogate.of(evidence).draw(0), {"lr": 0.03, "momentum": 0.8}
    seeds = [RunSeed(1, trial, 0) for trial in range(50)]
    found = [world.search_error(good, seed, 6) for seed in seeds]
    found += [world.full_error(good, seed) for seed in seeds]
    found += [world.test_error(good, seed) for seed in seeds]
    # A study whose code reports it in percent is no reason to cut all of that off.
    assert (min(found) < -1) == (scale > 1)
    assert len(set(found)) > 10


def test_too_small_a_study_is_refused(make_evidence: MakeEvidence) -> None:
    with pytest.raises(TooLittle, match=r"2 configurations.* 12 are needed"):
        Surrogate.of(make_evidence(configurations=4))


@pytest.mark.slow
def test_quality_tells_a_good_surrogate_from_none(make_evidence: MakeEvidence) -> None:
    good = quality_of(Surrogate.of(make_evidence(seeds=2, full=20)))
    assert good.rank_correlation is not None
    assert good.rank_correlation > 0.95
    assert good.error < 0.01
    assert good.seed_noise == pytest.approx(0.002, rel=0.5)
    noise = quality_of(Surrogate.of(make_evidence(noise=0.5)))
    assert noise.rank_correlation is None or noise.rank_correlation < 0.5
    assert any("poorly" in warning for warning in noise.warnings)


@pytest.mark.slow
def test_quality_warns_of_what_is_not_known(make_evidence: MakeEvidence) -> None:
    found = quality_of(Surrogate.of(make_evidence(configurations=24))).warnings
    assert any("small" in warning for warning in found)
    assert any("nothing was trained in full" in warning for warning in found)
    assert any("noise between seeds" in warning for warning in found)
