"""A surrogate of training, fitted to a study's own runs.

In the scale of ``scale`` a short run of configuration c with seed s has at epoch t the error

    y = h(c, t) + b_c + u_cs + e_cst,

and its full training, in the same scale, the error

    z = m + k h(c, horizon) + d_c + v_cs.

``h`` is a function drawn from the posterior of ``curve_gp.model``; b and d are what is peculiar to
a configuration and no smooth function of its parameters, u, v and e the noise between seeds and
between epochs; all of them normal, their variances from configurations that were trained several
times (``effects``). The test error is linear in the validation error of full training, with
deviations of the configuration and of the seed. Where runs diverge is the business of
``curve_gp.feasibility``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tuneoff.search.errors import UserError
from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.feasibility import Feasibility
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model import CurveModel, fit
from tuneoff.search.policies.curve_gp.observations import active, raw
from tuneoff.search.replay.draws import PosteriorDraw
from tuneoff.search.replay.effects import Effects, normal
from tuneoff.search.replay.evidence import Evidence
from tuneoff.search.replay.line import Line
from tuneoff.search.replay.scale import Scale, angle
from tuneoff.search.replay.world import Params
from tuneoff.search.spec.space import Floats
from tuneoff.search.study.keys import key_of
from tuneoff.trainer.contract import RunSeed, Split, Task

MODELLED, FITTED = 800, 256
"""Observations in the model, and those that its hyperparameters are fitted on, at most."""
LEAST = 12
"""Configurations with a complete run below which there is no surrogate."""
LEAST_RUNS = 8
"""Runs of several epochs below which the share of a seed's own noise is taken to be a half."""


class TooLittle(UserError):
    """A study has too few runs for a surrogate; the message is one line."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted surrogate; ``draw`` makes a world of it.

    Attributes:
        scale: of the errors.
        rough: b and u + e of short runs, at their ends, where configurations are good.
        share: of u in the variance of u + e.
        feasibility: None if no run diverged.
        full: of m, k, d and v; None without a full training.
        test: of the test error; None without one.
    """

    evidence: Evidence
    model: CurveModel
    scale: Scale
    rough: Effects
    share: float
    feasibility: Feasibility | None
    full: Line | None
    test: Line | None

    @classmethod
    def of(cls, evidence: Evidence) -> Surrogate:
        """Fit one.

        Raises:
            TooLittle: fewer than ``LEAST`` configurations have a complete run.
        """
        if len(evidence.keys) < LEAST:
            raise TooLittle(
                f"too few runs for a simulation: {len(evidence.keys)} configurations were trained "
                f"for all {evidence.horizon} epochs, and {LEAST} are needed; let the study run on"
            )
        model, scale = fit_curves(evidence)
        mean = _Smooth(evidence, model, scale, PosteriorDraw.mean(model))
        deviations: dict[str, list[float]] = defaultdict(list)
        pairs = []
        for run in evidence.short:
            if run.errors:
                found = _residuals(mean, run.params, run.errors)
                if evidence.horizon in run.errors:
                    deviations[key_of(run.params)].append(found[-1])
                if len(found) > 1:
                    pairs.append((found[0], found[-1]))
        rough = Effects.of(_centred(deviations), _better_half(mean, evidence))
        full = [(run, mean.end(run.params)) for run in evidence.full]
        tested = [(run, run.test) for run in evidence.full if run.test is not None]
        return cls(
            evidence,
            model,
            scale,
            rough,
            _share(pairs),
            Feasibility.of(evidence.curves, evidence.encoding.parameter),
            Line.of([(key_of(run.params), x, _value(scale, run.validation)) for run, x in full]),
            Line.of([(key_of(run.params), run.validation, test) for run, test in tested]),
        )

    @property
    def task(self) -> Task:
        """The study's."""
        return self.evidence.task

    @property
    def seconds(self) -> float:
        """That an epoch of the study took."""
        return self.evidence.seconds

    def draw(self, seed: int | None) -> Drawn:
        """A world in which training comes to what this surrogate says.

        Args:
            seed: of the draw; None for the mean of the posterior in place of a draw, which is
                smoother than training.
        """
        if seed is None:
            return Drawn(self, PosteriorDraw.mean(self.model), -1)
        random = np.random.default_rng(seed)
        return Drawn(self, PosteriorDraw.drawn(self.model, random), seed)


@dataclass(frozen=True)
class Drawn:
    """One world of a surrogate: its errors are functions of parameters, seeds and epochs."""

    surrogate: Surrogate
    function: PosteriorDraw
    seed: int
    _curves: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _smooth(self) -> _Smooth:
        s = self.surrogate
        return _Smooth(s.evidence, s.model, s.scale, self.function)

    def search_error(self, params: Params, seed: RunSeed, epoch: int) -> float:
        """See ``World``."""
        s, key = self.surrogate, key_of(params)
        noise = math.sqrt(s.share) * s.rough.of_training(key, self.seed, seed) + math.sqrt(
            1.0 - s.share
        ) * s.rough.of_training(key, self.seed, seed, epoch)
        return self._measured(self._curve(params)[epoch - 1] + noise)

    def diverges_in(self, params: Params, seed: RunSeed) -> int | None:
        """See ``World``: in the epoch of the nearest run that did."""
        found, key = self.surrogate.feasibility, key_of(params)
        if found is None:
            return None
        x = self.surrogate.evidence.encoding.columns(params)
        mean, sd = (float(part[0]) for part in found.labels.predict(x[None, :]))
        label = mean + sd * normal("diverges", key, self.seed)
        label += math.sqrt(found.labels.h.noise) * normal("diverges", key, self.seed, seed)
        return None if label >= found.border else _epoch_of_nearest(self.surrogate.evidence, x)

    def full_error(self, params: Params, seed: RunSeed) -> float:
        """See ``World``."""
        s, key = self.surrogate, key_of(params)
        end = float(self._curve(params)[-1])
        if s.full is None:
            return self._measured(end + s.rough.of_training(key, self.seed, seed))
        return self._measured(s.full.draw(key, end, self.seed, "full", seed))

    def test_error(self, params: Params, seed: RunSeed) -> float:
        """See ``World``."""
        s, validation = self.surrogate, self.full_error(params, seed)
        if s.test is None:
            if not s.evidence.metric.percent:
                return validation  # what its noise is on another split, nobody knows
            images = max(1, s.evidence.task.sizes.get("test", 1))
            sd = math.sqrt(validation * (1.0 - validation) / images)
            error = validation + sd * normal("test", key_of(params), self.seed, seed)
        else:
            error = s.test.draw(key_of(params), validation, self.seed, "test", seed)
        return self._of_images(error, "test")

    def _curve(self, params: Params) -> Floats:
        """What all runs of a configuration share, (horizon,), in the scale of the model."""
        key = key_of(params)
        if key not in self._curves:
            peculiar = self.surrogate.rough.of_configuration(key, self.seed)
            self._curves[key] = self._smooth.values(params) + peculiar
        return self._curves[key]

    def _measured(self, value: float) -> float:
        """The validation error of a value in the scale of the model."""
        error = float(self.surrogate.scale.errors(np.array(value)))
        return self._of_images(error, "validation")

    def _of_images(self, error: float, split: Split) -> float:
        """An error as it is measured: one that can be, and of shares a whole number of images."""
        evidence = self.surrogate.evidence
        low, high = evidence.range
        within = min(high, max(low, error))
        if not evidence.metric.percent:
            return within
        images = evidence.task.sizes.get(split, 0)
        return round(within * images) / images if images else within


@dataclass(frozen=True)
class _Smooth:
    """Errors as a smooth function of configuration and epoch."""

    evidence: Evidence
    model: CurveModel
    scale: Scale
    function: PosteriorDraw

    def values(self, params: Params) -> Floats:
        """(horizon,), after each epoch."""
        x = self.evidence.encoding.columns(params)
        return self.function.curve(x, _times(self.evidence.horizon))

    def end(self, params: Params) -> float:
        """After the last epoch."""
        x = self.evidence.encoding.columns(params)
        return float(self.function.curve(x, np.ones(1))[0])


def fit_curves(evidence: Evidence) -> tuple[CurveModel, Scale]:
    """The model of the runs that did not diverge, and its scale."""
    curves: Sequence[Curve] = [c for c in evidence.curves if c.errors and not c.failed]
    data = raw(curves, evidence.encoding.parameter, evidence.horizon)
    share = evidence.metric.percent
    if share:
        data = replace(data, y=angle(data.y))
    scale = Scale.of(data, share)
    data = replace(data, y=scale.warping.warp(data.y))
    data = data.take(active(data, MODELLED))
    return fit(data, Priors(), active(data, FITTED)), scale


def _times(horizon: int) -> Floats:
    epochs = np.arange(1, horizon + 1)
    return np.log(epochs) / math.log(horizon) if horizon > 1 else np.ones(1)


def _value(scale: Scale, error: float) -> float:
    return float(scale.at(np.array(error)))


def _residuals(mean: _Smooth, params: Params, errors: Mapping[int, float]) -> list[float]:
    """Of the first and the last epoch of a run; of the one epoch that there is."""
    curve = mean.values(params)
    epochs = sorted({min(errors), max(errors)})
    return [_value(mean.scale, errors[e]) - float(curve[e - 1]) for e in epochs]


def _better_half(mean: _Smooth, evidence: Evidence) -> set[str]:
    """The configurations of which the model expects most: noise counts where a search is decided.

    The errors of bad configurations scatter more than those of good ones.
    """
    params = {key_of(run.params): run.params for run in evidence.complete}
    ends = {key: mean.end(one) for key, one in params.items()}
    middle = float(np.median(list(ends.values())))
    return {key for key, end in ends.items() if end <= middle}


def _centred(deviations: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    mean = float(np.mean([one for some in deviations.values() for one in some]))
    return {key: [one - mean for one in some] for key, some in deviations.items()}


def _share(pairs: Sequence[tuple[float, float]]) -> float:
    """The correlation of a run's deviations at its first and its last epoch, 0 to 1."""
    if len(pairs) < LEAST_RUNS:
        return 0.5
    first, last = np.array(pairs).T
    if first.std() == 0 or last.std() == 0:
        return 0.5
    return float(np.clip(np.corrcoef(first, last)[0, 1], 0.0, 1.0))


def _epoch_of_nearest(evidence: Evidence, x: Floats) -> int:
    diverged = [
        (c, run) for c, run in zip(evidence.curves, evidence.short, strict=True) if c.failed
    ]
    _, run = min(diverged, key=lambda each: float(((each[0].x - x) ** 2).sum()))
    assert run.diverged is not None
    return run.diverged
