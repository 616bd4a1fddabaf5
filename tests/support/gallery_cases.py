"""The gallery's small cases: what a study can come to, from nothing to a whole comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from gallery_study import (
    ARMS,
    EPOCHS,
    HAND,
    NO_TEST,
    Case,
    Place,
    Story,
    draw,
    final_error,
    noisy,
    search,
    searched,
    train,
)
from stored_study import Run, Try, falling

from tuneoff.search.study.study import Study

TWO_ARMS: Final = {name: ARMS[name] for name in ("bayes", "hand")}
FAR_OFF: Final = [{**config, "lr": 0.0005 * (1 + i)} for i, config in enumerate(HAND)]


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _nothing(place: Place) -> Study:
    return place.create().study


def _one_trial(place: Place) -> Study:
    writer = place.create(repeats=1, arms={"random": {"sampler": "random"}}, promote=None)
    writer.arm("random", 0, searched(_rng(), [draw(_rng())]))
    return writer.study


def _first_running(place: Place) -> Study:
    writer = place.create()
    rng = _rng()
    writer.arm("bayes", 0, searched(rng, [draw(rng)], ("running",)))
    writer.arm("hand", 0, searched(rng, HAND[:1], ("running",)))
    return writer.study


def _one_arm(place: Place) -> Study:
    writer = place.create(arms={"bayes": ARMS["bayes"]})
    search(writer, _rng())
    train(writer, _rng())
    return writer.study


def _one_repeat(place: Place) -> Study:
    writer = place.create(repeats=1)
    search(writer, _rng())
    train(writer, _rng())
    return writer.study


def _all_diverged(place: Place) -> Study:
    writer, rng = place.create(), _rng()
    for one in writer.study.arms:
        configs = HAND if one.arm == "hand" else [draw(rng, 0.9, 0.1) for _ in range(3)]
        writer.arm(one.arm, one.repeat, searched(rng, configs, ("diverged",)))
    return writer.study


def _diverged_in_full(place: Place) -> Study:
    writer = place.create()
    search(writer, _rng())
    writer.full(lambda params, replica: (math.nan, math.nan))
    return writer.study


def _nan(place: Place) -> Study:
    """NaN and infinite values among the reported errors, as another program may have stored."""
    writer, rng = place.create(arms={"tpe": {"sampler": "tpe"}, "hand": {"configs": HAND}}), _rng()
    bad = [
        (0.9, math.nan, 0.5, 0.3, 0.2, 0.2, 0.15, 0.14, 0.13),
        (0.9, math.inf, 0.5, 0.3, 0.2, 0.2, 0.15, 0.14, 0.12),
        (math.nan,) * EPOCHS,
        (-math.inf,) * EPOCHS,
        (0.9, 0.5, 0.3, 0.2, 0.15, 0.13, 0.12, 0.11, math.inf),
        (0.9, 0.5, 0.3, 0.2, 0.15, 0.13, 0.12, 0.11, math.nan),
        (0.9, 1e300, 7.0, -3.0, 0.15, 0.13, 0.12, 0.11, 0.1),
    ]
    for repeat in range(4):
        writer.arm("tpe", repeat, [Run(draw(rng), errors) for errors in bad])
        writer.arm("hand", repeat, searched(rng, HAND))
    return writer.study


def _equal(place: Place) -> Study:
    """Every error of every run is the same number."""
    writer, rng = place.create(arms=TWO_ARMS), _rng()
    for one in writer.study.arms:
        configs = HAND if one.arm == "hand" else [draw(rng) for _ in range(4)]
        runs = [Run({k: v for k, v in c.items() if k != "note"}, (0.25,) * EPOCHS) for c in configs]
        writer.arm(one.arm, one.repeat, runs)
    writer.full(lambda params, replica: (0.25, 0.25))
    return writer.study


def _perfect(place: Place) -> Study:
    """Every error is zero: nothing to take a logarithm of."""
    writer, rng = place.create(arms=TWO_ARMS), _rng()
    for one in writer.study.arms:
        configs = HAND if one.arm == "hand" else [draw(rng) for _ in range(4)]
        runs = [Run({k: v for k, v in c.items() if k != "note"}, (0.0,) * EPOCHS) for c in configs]
        writer.arm(one.arm, one.repeat, runs)
    writer.full(lambda params, replica: (0.0, 0.0))
    return writer.study


def _better(place: Place) -> Study:
    writer = place.create(repeats=8, arms={**TWO_ARMS, "hand": {"configs": FAR_OFF}})
    search(writer, _rng(), decades=0.2)
    train(writer, _rng())
    return writer.study


def _worse(place: Place) -> Study:
    writer = place.create(repeats=8, arms=TWO_ARMS)
    search(writer, _rng(), lr=0.0008, decades=0.2)
    train(writer, _rng())
    return writer.study


def _as_good(place: Place) -> Study:
    writer = place.create(repeats=8, arms=TWO_ARMS, compare={"smallest_effect": 2.0})
    search(writer, _rng(), decades=0.1)
    train(writer, _rng())
    return writer.study


def _undecided(place: Place) -> Study:
    writer = place.create(arms=TWO_ARMS, compare={"smallest_effect": 0.2})
    search(writer, _rng(), decades=0.4)
    train(writer, _rng(), sd=0.02)
    return writer.study


def _until_decided(place: Place) -> Study:
    """Under way: the first repeats are in, a later one is still searched."""
    writer = place.create(
        repeats=5,
        arms=TWO_ARMS,
        compare={"smallest_effect": 0.2, "until": "decided", "max_repeats": 20},
    )
    rng = _rng()
    for one in writer.study.arms:
        states: tuple[Story, ...] = ("complete",)
        if one.repeat == 4:
            states = ("complete", "running", "waiting")
        configs = HAND if one.arm == "hand" else [draw(rng, decades=0.4) for _ in range(3)]
        writer.arm(one.arm, one.repeat, searched(rng, configs, states))
    train(writer, rng, sd=0.02)
    return writer.study


def _paused(place: Place) -> Study:
    """Everybody was asked to leave; trials are paused or wait to be taken over."""
    writer, rng = place.create(), _rng()
    for one in writer.study.arms[:6]:
        configs = [draw(rng) for _ in range(4)]
        runs = searched(rng, configs, ("complete", "paused", "paused", "paused"))
        tries = (Try(3, "released", "asked to leave"),)
        left = Run(draw(rng), falling(0.1, EPOCHS)[:3], "running", tries=tries)
        writer.arm(one.arm, one.repeat, [*runs, left])
    writer.study.drain(True)
    return writer.study


def _lost(place: Place) -> Study:
    """Attempts that were lost, that failed, and trials that were given up."""
    writer, rng = place.create(arms=TWO_ARMS), _rng()
    gone = "no sign of life from gpu-box/4711"
    for one in writer.study.arms:
        configs = HAND if one.arm == "hand" else [draw(rng) for _ in range(4)]
        runs = searched(rng, configs, ("complete", "failed", "complete", "complete"))
        errors = falling(final_error(runs[0].params), EPOCHS)
        tries = (
            Try(0, "lost", gone, "gpu-box/4711"),
            Try(4, "released", "asked to leave", "gpu-box/4712", "cuda:1"),
            Try(5, "finished", None, "other-box/99", "cpu"),
        )
        runs[0] = Run(runs[0].params, errors, tries=tries)
        writer.arm(one.arm, one.repeat, runs)
    train(writer, rng)
    return writer.study


def _no_test(place: Place) -> Study:
    writer = place.create(NO_TEST, arms=TWO_ARMS)
    search(writer, _rng())
    train(writer, _rng())
    return writer.study


def _no_promote(place: Place) -> Study:
    writer = place.create(promote=None)
    search(writer, _rng())
    return writer.study


def _with_ensemble(place: Place, models: list[str]) -> Study:
    members = [{"model": model, "epochs": 2} for model in models]
    writer = place.create(ensemble={"combine": "paper", "members": members})
    search(writer, _rng())
    train(writer, _rng())
    writer.ensemble([0.05 + 0.004 * i for i in range(len(members))], 0.041)
    return writer.study


def _ensemble(place: Place) -> Study:
    return _with_ensemble(place, ["proxy", "resnet18", "densenet121", "resnet50"])


def _one_member(place: Place) -> Study:
    return _with_ensemble(place, ["proxy"])


def _horizon(place: Place) -> Study:
    writer = place.create(
        arms=TWO_ARMS,
        promote=None,
        horizon={"epochs": [3, 10, 30], "configurations": 12, "seeds": 2},
    )
    rng = _rng()
    search(writer, rng, decades=1.0, trials=8)

    def errors(params: Mapping[str, Any], epochs: int) -> tuple[float, float]:
        error = final_error(params) / epochs**0.3
        return noisy(rng, error), noisy(rng, error + 0.005)

    writer.horizon(errors)
    return writer.study


SMALL: Final = (
    Case("nothing", "created, and nothing has been run", _nothing),
    Case("first-running", "two trials run, none has finished", _first_running),
    Case("one-trial", "one arm, one repeat, one finished trial, no [promote]", _one_trial),
    Case("one-arm", "one arm: nothing to compare it with", _one_arm),
    Case("one-repeat", "three arms, one repeat: no interval", _one_repeat),
    Case("all-diverged", "every run of every arm diverged", _all_diverged),
    Case("diverged-in-full", "every full training diverged", _diverged_in_full),
    Case("nan", "NaN, infinite and absurd values among the errors", _nan),
    Case("equal", "every error is the same", _equal),
    Case("perfect", "every error is zero", _perfect),
    Case("better", "decided: bayes is better", _better),
    Case("worse", "decided: bayes is worse", _worse),
    Case("as-good", "decided: as good", _as_good),
    Case("undecided", "undecided after all repeats", _undecided),
    Case("until-decided", "goes on until decided, and is under way", _until_decided),
    Case("paused", "stopped: trials are paused or wait to be taken over", _paused),
    Case("lost", "attempts were lost and failed, trials given up", _lost),
    Case("no-test", "there is no test split", _no_test),
    Case("no-promote", "there is no [promote] section", _no_promote),
    Case("ensemble", "four members", _ensemble),
    Case("one-member", "an ensemble with one member", _one_member),
    Case("horizon", "a sample trained to three horizons", _horizon),
)
