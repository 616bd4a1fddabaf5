"""What we store with Optuna's trials and studies, besides parameters and values: one schema.

An attribute that is renamed, or whose values change, needs a revision in ``migrations``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tuneoff.search.store.attribute import Attribute, SystemAttribute

# Of every trial.

UNTIL = SystemAttribute("until epoch", int)
"""Where the first attempt is to stop: a worker may die before it enters that attempt."""
DIVERGED = Attribute("diverged epoch", int)
"""The epoch, from 1, in which the loss became non-finite."""
FAILURE = Attribute("failure", str)
"""Why the trial was told FAIL."""
PRINTED = Attribute("printed last", tuple[str, ...])
"""What a user's own code printed last in the latest attempt that failed."""
ACCUMULATION = Attribute("accumulation", int)
"""Parts into which a batch was split because it did not fit in memory; unset if as asked for."""

# Of trials in an arm.

FIXED_INDEX = Attribute("fixed configuration", int)
"""Which of the arm's ``configs`` it is, from 0."""
CANDIDATE = Attribute("candidate", int)
"""Which of top-k's candidates it is, from 0."""
NOTE = Attribute("note", str)
"""What somebody wrote beside a configuration."""
ENTERED = Attribute("entered", str)
"""When somebody entered the configuration by hand, UTC in ISO 8601."""
CHOSEN_BY = Attribute("chosen by", str)
"""How curve-gp chose this configuration: one of the following."""
START = "start"  # one of those to begin with
MODEL = "curve model"  # the best by the model, given all runs
FULL_RUNS_ONLY = "given full runs only"  # the best by the model, given full runs only
QUASI_RANDOM = "quasi-random"  # a point of the Sobol sequence


@dataclass(frozen=True)
class StoredCurve:
    """What a table of learning curves keeps of a run beside its errors, by epoch from 1.

    Attributes:
        losses: mean cross entropy on the validation split, nats; None where it is not finite.
        seconds: that the epoch took, with its evaluation.
    """

    losses: tuple[float | None, ...]
    seconds: tuple[float, ...]


CURVE = Attribute("curve", StoredCurve)

# Of the study NAME/ARM/REPEAT.


@dataclass(frozen=True)
class StoredStop:
    """That a search ended before its budget was spent, by the study file's rule.

    Attributes:
        spent: epochs by then. A search that has spent more has gone on since.
        gain: that was expected, 0 to 1.
    """

    spent: int
    gain: float


STOPPED = Attribute("stopped early", StoredStop)

# Of full training, of the ensemble's members, and of training to a horizon.

SEED = Attribute("seed", tuple[int, int, int])
"""``RunSeed``: study, trial, replica."""
RECIPE_CHANGES = Attribute("recipe changes", dict[str, Any])
"""Fields in which the recipe differs from the short trial's."""
REPLICA = Attribute("replica", int)
"""Full training, or training to a horizon: which seed of its configuration, from 0."""
HORIZON = Attribute("horizon", int)
"""Training to a horizon: its epochs."""
MEMBER = Attribute("member", int)
"""The ensemble: which of [ensemble] ``members``, from 0."""
MEMBER_KEY = Attribute("member key", str)
"""The ensemble: parameters, recipe changes and seed; unset in studies of earlier versions."""
TEST_ERROR = Attribute("test error", float)
"""0 to 1, on the test split."""
RECIPE = Attribute("recipe", dict[str, Any])
"""Every field of the recipe with which it was trained."""
ENVIRONMENT = Attribute("environment", dict[str, str])
"""Where it was trained: ``Trainer.describe``."""

# Of the study NAME/ensemble.


@dataclass(frozen=True)
class StoredMember:
    """A member of the ensemble, its errors 0 to 1."""

    model: str
    validation_error: float
    test_error: float
    weight: float


@dataclass(frozen=True)
class StoredEnsemble:
    """The ensemble as it was combined.

    Attributes:
        how: the combination's name.
        test_error: 0 to 1.
        trials: numbers of the members' trials; None in studies of earlier versions.
    """

    how: str
    members: tuple[StoredMember, ...]
    test_error: float
    trials: tuple[int, ...] | None = None


ENSEMBLE = Attribute("ensemble", StoredEnsemble)

# Of the study NAME/full.


@dataclass(frozen=True)
class StoredFolder:
    """The folder of a study that workers have begun to use.

    Attributes:
        mark: the content of its mark.
        place: HOST:PATH, as the first worker knew it; for people.
    """

    mark: str
    place: str


FOLDER = Attribute("work folder", StoredFolder)

REVEALED = Attribute("revealed", str)
"""When whoever tuned by hand was shown what the other arms found, UTC in ISO 8601."""
NOTIFIED = Attribute("notified", dict[str, str])
"""When each kind of message was about to be sent, UTC in ISO 8601."""


@dataclass(frozen=True)
class StoredEnd:
    """Why a study that goes on until its arms are decided came to an end.

    Attributes:
        reason: in words.
        repeats: how many were open then; with more of them the study has gone on.
    """

    reason: str
    repeats: int


ENDED = Attribute("ended", StoredEnd)


@dataclass(frozen=True)
class StoredAnswer:
    """What the comparison came to when it was last made, so that a list of studies makes none.

    Attributes:
        words: a few: "bayes better than hand (+0.54)".
        ended: how many attempts of the study had ended by then; with more, the study has gone on.
    """

    words: str
    ended: int


ANSWER = Attribute("answer", StoredAnswer)

# Of the study NAME, a copy of all search runs for optuna-dashboard.

COMPARISON = Attribute("comparison", str)
"""The ``uid`` of the study of ours that it shows: an Optuna study without it is somebody else's."""


@dataclass(frozen=True)
class StoredMirror:
    """How far the copy is. Whoever writes to it does so in a transaction that raises ``revision``.

    Attributes:
        revision: goes up with each transaction.
        copied: by search: how many of its trials are there, those with the lowest numbers.
        seen: what the searches were like at the last publication (see ``mirror.look``).
        at, took: when trials were last published, by the database's clock, and seconds it cost.
        page_seen, page_at, page_took: the same of notes and figures.
    """

    revision: int = 0
    copied: dict[str, int] = field(default_factory=dict)
    seen: str = ""
    at: float = 0.0
    took: float = 0.0
    page_seen: str = ""
    page_at: float = 0.0
    page_took: float = 0.0


MIRROR = Attribute("mirror", StoredMirror)


@dataclass(frozen=True)
class StoredSource:
    """Of which trial a trial of the copy is one.

    Attributes:
        id: of that trial, in the storage.
        mark: of what was copied (see ``runs.Run``); another one if that has changed.
    """

    id: int
    mark: str


SOURCE = SystemAttribute("source", StoredSource)

# Of the study NAME/horizon.


@dataclass(frozen=True)
class StoredChoice:
    """A configuration of the sample that is trained to each horizon.

    Attributes:
        arm: that found it first.
        level: its third of the arm's configurations, 0 the better.
        weight: for how many configurations it stands; 1 for what an arm recommends.
        search_error: mean of its search runs, 0 to 1.
    """

    params: dict[str, Any]
    arm: str
    level: int
    weight: float
    search_error: float


@dataclass(frozen=True)
class StoredSample:
    """The sample as it was drawn.

    Attributes:
        configurations: the size that was asked for.
        population: configurations from which it was drawn.
    """

    configurations: int
    population: int
    choices: tuple[StoredChoice, ...]


SAMPLE = Attribute("horizon sample", StoredSample)
