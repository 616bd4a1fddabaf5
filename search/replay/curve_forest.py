"""A table of learning curves as a function of the configuration: a forest through its rows.

Extremely randomised trees (Geurts, Ernst and Wehenkel 2006, Extremely randomized trees), fully
grown and each on all rows: so the forest is exact at every row, and between them an average of rows
near by. It is no Gaussian process on purpose: a sampler that models the errors with one is not to
meet its own assumptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.replay.effects import uniform
from tuneoff.search.replay.world import Params
from tuneoff.search.spec.space import Floats
from tuneoff.search.study.keys import key_of
from tuneoff.trainer.contract import RunSeed

TREES = 100
NEIGHBOURS = 10
"""Configurations, those of the nearest errors, among whose trainings a deviation is drawn."""
FOLDS = 10


@dataclass(frozen=True)
class Rows:
    """C configurations with learning curves of E epochs.

    Attributes:
        encoding: of the searched parameters.
        x: (C, D), their columns.
        curves: (C, E + 1), the mean over seeds of the validation error after each epoch, and of the
            test error after the last, on the scale of ``scale.angle``.
        diverged: (C,), the share of trainings that diverged.
        deviations: by configuration: (S, E + 1), of each training from the mean, as large as those
            of single trainings from the unknown truth; none where there was one training alone.
        diverged_in: (C,), the epoch in which the first of them did, E + 1 where none did.
        chance: error of guessing, 0 to 1.
        images: on which errors are measured, validation and test; 0 where they are not rounded.
    """

    encoding: Encoding
    x: Floats
    curves: Floats
    diverged: Floats
    deviations: Sequence[Floats]
    diverged_in: Floats
    chance: float
    images: tuple[int, int] = (0, 0)

    @property
    def epochs(self) -> int:
        """E, the epochs of a full run."""
        return int(self.curves.shape[1]) - 1

    def without(self, held: Floats) -> Rows:
        """The rows but for those whose place in ``held``, (C,), is True."""
        keep = [i for i, out in enumerate(held) if not out]
        return replace(
            self,
            x=self.x[keep],
            curves=self.curves[keep],
            diverged=self.diverged[keep],
            deviations=[self.deviations[i] for i in keep],
            diverged_in=self.diverged_in[keep],
        )


def error_at(angles: Floats) -> Floats:
    """The inverse of ``scale.angle``."""
    errors: Floats = np.sin(np.clip(angles, 0.0, np.pi / 2)) ** 2
    return errors


@dataclass(frozen=True)
class CurveForest:
    """A world (see ``World``) that is exact at the rows; seeds deviate as those of the rows do.

    Attributes:
        seed: other seeds, other noise.
    """

    rows: Rows
    trees: Sequence[object]
    seed: int = 0
    _known: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, rows: Rows) -> CurveForest:
        """Fit one."""
        from sklearn.ensemble import ExtraTreesRegressor

        forest = ExtraTreesRegressor(TREES, max_features=1.0, random_state=0, n_jobs=1)
        forest.fit(rows.x, np.column_stack([rows.curves, rows.diverged]))
        return cls(rows, [one.tree_ for one in forest.estimators_])

    def drawn(self, seed: int) -> CurveForest:
        """The same function with other noise."""
        return replace(self, seed=seed)

    def expected(self, params: Params) -> Floats:
        """(E + 1,), errors 0 to 1 without noise: validation after each epoch, test after the last.

        A diverged training has the error of guessing, and counts with its share.
        """
        found = self._at(params)
        risk = float(np.clip(found[-1], 0.0, 1.0))
        errors: Floats = (1.0 - risk) * error_at(found[:-1]) + risk * self.rows.chance
        return errors

    def measured(self, params: Params, seed: RunSeed) -> Floats:
        """(E + 1,), errors 0 to 1 of one training that does not diverge, as ``expected``."""
        found, key = self._at(params)[:-1], key_of(params)
        pool = self._deviations(found[-2])
        if pool:
            some = pool[int(uniform("which", key, self.seed, seed) * len(pool))]
            found = found + some[int(uniform("run", key, self.seed, seed) * len(some))]
        errors = error_at(found)
        for part, images in zip((slice(0, -1), slice(-1, None)), self.rows.images, strict=True):
            if images:
                errors[part] = np.round(errors[part] * images) / images
        return errors

    def search_error(self, params: Params, seed: RunSeed, epoch: int) -> float:
        """See ``World``."""
        return float(self.measured(params, seed)[epoch - 1])

    def diverges_in(self, params: Params, seed: RunSeed) -> int | None:
        """See ``World``: as the nearest configuration of which some training did."""
        risk = self._at(params)[-1]
        if risk <= 0 or uniform("diverges", key_of(params), self.seed, seed) >= risk:
            return None
        did = np.flatnonzero(self.rows.diverged > 0)
        distances = ((self.rows.x[did] - self.rows.encoding.columns(params)) ** 2).sum(axis=1)
        return int(self.rows.diverged_in[did[int(distances.argmin())]])

    def full_error(self, params: Params, seed: RunSeed) -> float:
        """See ``World``: a full training is one of all epochs."""
        return self._full(params, seed, -2)

    def test_error(self, params: Params, seed: RunSeed) -> float:
        """See ``World``."""
        return self._full(params, seed, -1)

    def _full(self, params: Params, seed: RunSeed, which: int) -> float:
        if self.diverges_in(params, seed) is not None:
            return self.rows.chance
        return float(self.measured(params, seed)[which])

    def _at(self, params: Params) -> Floats:
        """(E + 2,), the forest's curve and share of divergence."""
        key = key_of(params)
        if key not in self._known:
            x = self.rows.encoding.columns(params).astype(np.float32)[None, :]
            values = [tree.predict(x).reshape(-1) for tree in self.trees]  # type: ignore[attr-defined]
            self._known[key] = np.mean(values, axis=0)
        return self._known[key]

    def _deviations(self, final: float) -> list[Floats]:
        """Those of the configurations whose error at the end is nearest to this one."""
        several = [i for i, some in enumerate(self.rows.deviations) if len(some)]
        nearest = sorted(several, key=lambda i: abs(self.rows.curves[i, -2] - final))[:NEIGHBOURS]
        return [self.rows.deviations[i] for i in nearest]


@dataclass(frozen=True)
class Foretold:
    """Errors at the end of configurations that were left out, 0 to 1, and what they were.

    Attributes:
        said, true: (C,) each.
    """

    said: Floats
    true: Floats

    @property
    def error(self) -> float:
        """Half of them are off by no more."""
        return float(np.median(np.abs(self.said - self.true)))

    @property
    def explained(self) -> float:
        """Share of the variance that is foretold: 1 - mean square error / variance."""
        spread = float(self.true.var())
        miss = float(((self.said - self.true) ** 2).mean())
        return 1.0 - miss / spread if spread else 1.0

    def rank(self, better_half: bool = False) -> float | None:
        """Spearman's correlation, of all or of the better half; None where there is none."""
        from scipy.stats import spearmanr

        keep = self.true <= np.median(self.true) if better_half else np.full(len(self.true), True)
        said, true = self.said[keep], self.true[keep]
        if len(true) < 3 or np.ptp(said) == 0 or np.ptp(true) == 0:
            return None
        return float(spearmanr(said, true).statistic)


def foretold(rows: Rows, folds: int = FOLDS) -> Foretold:
    """What forests say of the configurations that they were not fitted on, ``folds``-fold."""
    count = len(rows.x)
    order = np.random.default_rng(0).permutation(count)
    said = np.empty(count)
    for fold in range(min(folds, count)):
        held = np.zeros(count)
        held[order[fold::folds]] = 1
        forest = CurveForest.of(rows.without(held))
        for i in np.flatnonzero(held):
            values = [t.predict(rows.x[i : i + 1].astype(np.float32)) for t in forest.trees]  # type: ignore[attr-defined]
            found = np.mean(values, axis=0).reshape(-1)
            said[i] = (1 - found[-1]) * float(error_at(found[-3])) + found[-1] * rows.chance
    true = (1 - rows.diverged) * error_at(rows.curves[:, -2]) + rows.diverged * rows.chance
    return Foretold(said, true)


def seed_noise(rows: Rows) -> float | None:
    """Standard deviation of the error at the end between seeds, 0 to 1, in the better half.

    None where no configuration was trained twice.
    """
    finals = error_at(rows.curves[:, -2])
    middle = np.median(finals)
    found = [
        error_at(mean[-2] + some[:, -2]) - error_at(mean[-2])
        for mean, some, final in zip(rows.curves, rows.deviations, finals, strict=True)
        if len(some) and final <= middle
    ]
    return float(np.sqrt(np.mean(np.concatenate(found) ** 2))) if found else None
