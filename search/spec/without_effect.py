"""Options of a study file that change nothing, as one line of warning each."""

from __future__ import annotations

from collections.abc import Iterator

from tuneoff.references import is_reference
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.registry import PRUNERS, SAMPLERS
from tuneoff.search.spec.sections import HYPERPARAMS
from tuneoff.trainer import optimizer_choice
from tuneoff.trainer.fine_tuning import trains_head_alone
from tuneoff.trainer.recipe import Recipe


def without_effect(spec: StudySpec) -> Iterator[str]:
    """A line for each option that is given and has no effect: which one, why, and what to do.

    For files, which somebody can mend; what is stored cannot be changed.
    """
    if spec.is_own:
        yield from _of_own_code(spec)
    else:
        for name in HYPERPARAMS:
            if name in spec.space and name in spec.trial.model_fields_set:
                yield _SEARCHED.format(where="trial", name=name)
        yield from _of_other_optimizers(spec)
        yield from _where_the_head_trains_alone(spec)
    for arm, settings in spec.arms.items():
        given, sampler = settings.model_fields_set, settings.method
        if "points" in given and sampler != "grid":
            yield f'arms.{arm}.points has no effect without sampler = "grid"; take it out'
        yield from _beside_references(arm, settings)
        if settings.min_epochs is not None and not is_reference(settings.pruner):
            stops = PRUNERS.entry(settings.pruner).stops_runs
            if not stops and (sampler is None or not SAMPLERS.entry(sampler).stops_runs):
                yield f"arms.{arm}.min_epochs has no effect, as the arm stops no runs; take it out"
            elif settings.min_epochs > spec.trial.epochs:
                yield (
                    f"arms.{arm}.min_epochs = {settings.min_epochs} is more than a run has "
                    f"(trial.epochs = {spec.trial.epochs}), so that none is stopped; lower it"
                )
        if spec.budget.epochs is None:
            continue
        # A pruner leaves more of the budget to those that come later.
        runs = spec.budget.epochs // spec.trial.epochs
        configs = (settings.persona is None and settings.configs) or ()
        if len(configs) > runs and not PRUNERS.entry(settings.pruner).stops_runs:
            yield (
                f"arms.{arm}.configs lists {len(configs)} configurations, of which budget.epochs = "
                f"{spec.budget.epochs} runs the first {runs}; raise it to "
                f"{len(configs) * spec.trial.epochs}, or shorten the list"
            )


def _beside_references(arm: str, settings: ArmSpec) -> Iterator[str]:
    """Keys that the sampler or pruner would have if it were one of ours."""
    keys: tuple[str, ...]
    if is_reference(settings.pruner):
        keys = ("min_epochs", "reduction")
        what, own = "pruner", "its options"
    elif is_reference(settings.method or "") and settings.pruner != "median":
        keys = ("startup",)
        what, own = "sampler", "options = { n_startup_trials = ... } if it takes that"
    else:
        return
    for key in settings.model_fields_set.intersection(keys):
        yield (
            f"arms.{arm}.{key} has no effect, as its {what} is a reference; give {own} instead, or "
            "take it out"
        )


_SEARCHED = "{where}.{name} has no effect, as [space] searches {name}; take one of them out"


def _of_own_code(spec: StudySpec) -> Iterator[str]:
    for name, param in spec.space.items():
        if name in spec.trial.params:
            yield _SEARCHED.format(where="trial.params", name=name)
        if param.integer and (param.low, param.high) == (0, 1):
            yield (
                f"space.{name} is a range of whole numbers, as its ends are written as such, and "
                "so either 0 or 1; write 0.0 and 1.0 if you mean the numbers between them"
            )


def _of_other_optimizers(spec: StudySpec) -> Iterator[str]:
    """Options of optimisers that none of the study's runs uses."""
    recipe = spec.our_recipe()
    later = (recipe.override(changes) for changes in spec.later_changes().values())
    used = {recipe.optimizer, *(one.optimizer for one in later)}
    if "optimizer" in spec.space:
        used = {str(choice) for choice in spec.space["optimizer"].choices or ()}
    names = ", ".join(sorted(used))
    for name, has in (
        ("momentum", any(optimizer_choice.entry(one).has_momentum for one in used)),
        ("nesterov", "sgd" in used),
    ):
        if has:
            continue
        if name in spec.space:
            yield f"space.{name} has no effect, as {names} has none; take it out"
        elif name in spec.trial.model_fields_set:
            yield f"trial.{name} has no effect, as {names} has none; take it out"


def _where_the_head_trains_alone(spec: StudySpec) -> Iterator[str]:
    """Options of fine-tuning for stages below the head, where none of these ever trains."""
    recipe = spec.our_recipe()
    every = [recipe, *(recipe.override(changes) for changes in spec.later_changes().values())]
    reasons = [trains_head_alone(one) for one in every]
    deciding = {"model", "frozen_stages", "frozen_epochs", "unfreeze_every"}
    if not all(reasons) or deciding & spec.space.keys():
        return
    usual = Recipe()
    for name in ("unfreeze_every", "frozen_epochs", "frozen_norms", "layer_lr_decay", "l2_sp"):
        if name in spec.space:
            where = "space"
        elif getattr(recipe, name) != getattr(usual, name):
            where = "trial"
        else:
            continue
        if not any(reason.startswith(name) for reason in reasons):
            yield (
                f"{where}.{name} has no effect, as with {reasons[0]} the head trains alone; take "
                "it out"
            )
