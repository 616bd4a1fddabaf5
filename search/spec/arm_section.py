"""[arms.NAME] of a study file: how one arm searches, or what it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, model_validator

from tuneoff import references
from tuneoff.search.spec.keywords import check_keywords
from tuneoff.search.spec.registry import DEFAULT_SAMPLER, NO_PRUNER, PRUNERS, SAMPLERS
from tuneoff.search.spec.section import Choice, Section

CONFIG_NOTE = "note"  # a key beside a configuration's parameters: what somebody wrote about it
OLD_KEYS = {"believe": "prior_from"}  # of [arms.NAME]: names that are still read, and today's

OF_SOME = {"takes_steps": ("start", "order", "factors"), "takes_shares": ("candidates", "full")}
"""Keys of [arms.NAME] that some samplers alone make use of, by the field that says so."""


class ArmSpec(Section):
    """[arms.NAME]: a sampler and a pruner, or a list of hand-tuned configurations.

    Attributes:
        sampler: a name from ``tuneoff.search.spec.registry.SAMPLERS``, or a reference to a class
            made for Optuna, "optuna.samplers:CmaEsSampler", or to a function that returns an
            instance; without it and without ``configs``, the first of them.
        pruner: a name from ``tuneoff.search.spec.registry.PRUNERS``, or a reference,
            "optuna.pruners:PatientPruner".
        options: keyword arguments of what ``sampler`` refers to; of ``pruner``'s, where that alone
            is a reference. In them a reference stands for what it names, and for an
            instance of it where that is a class; { reference = "...", options = {...} } gives that
            instance options of its own.
        pruner_options: the same of ``pruner``'s class, where ``sampler`` is a reference, too.
        configs: hand-tuned configurations, in the order in which they are run; each has a value
            for every searched parameter, and may have a "note".
        persona: a name from ``tuneoff.search.spec.personas.PERSONAS``, whose dated list ``configs``
            is.
        startup: trials before a model-based sampler (curve-gp, gp, tpe) starts to model, or the
            median pruner to prune; 5, or 8 for curve-gp, whose first ones are short.
        min_epochs: epochs before a run may be stopped or paused; 1, or for curve-gp and top-k,
            which trains each of its candidates for so many first, a seventeenth of a full run.
        reduction: one run in so many passes each rung (successive-halving, hyperband); the ratio
            of one rung to the one before (curve-gp).
        points: grid: values of each range, evenly spaced on its scale.
        start_from: curve-gp: the name of a hand-tuned arm whose configurations are run first, at
            this arm's cost.
        prior_from: curve-gp: the name of a hand-tuned arm around whose configurations the optimum
            is expected.
        start: one-at-a-time: the configuration to begin with. What it leaves out is at the middle
            of its range, on its scale, or the first of its choices.
        order: one-at-a-time: the parameters to tune, in this order; the others stay as they are at
            the start. All, in the order of [space] but ``lr`` first, where it is not given.
        factors: one-at-a-time: steps by parameter: a factor above 1 for a logarithmic range, a
            share of the range, below 1, for a linear one.
        candidates: top-k: configurations that are trained for ``min_epochs`` first. As many as
            half of the budget pays for, or what ``full`` leaves of it, where it is not given.
        full: top-k: of these, the most that are trained to the end, the best first. As many as
            the budget pays for, where it is not given.
    """

    sampler: str | None = None
    pruner: str = NO_PRUNER
    configs: Annotated[tuple[Mapping[str, Choice], ...] | None, Field(strict=False)] = None
    persona: str | None = None
    startup: int | None = Field(default=None, ge=1, le=10**6)
    min_epochs: int | None = Field(default=None, ge=1, le=10**6)
    reduction: int = Field(default=3, ge=2, le=1000)
    points: int = Field(default=3, ge=1, le=1000)
    start_from: str | None = None
    # ``digest`` serialises by alias, so that studies from before the key's new name keep theirs.
    prior_from: str | None = Field(
        default=None,
        validation_alias=AliasChoices("prior_from", "believe"),
        serialization_alias="believe",
    )
    start: Mapping[str, Choice] | None = None
    order: Annotated[tuple[str, ...] | None, Field(strict=False, min_length=1)] = None
    factors: Mapping[str, Annotated[float, Field(gt=0, le=10**6)]] | None = None

    candidates: int | None = Field(default=None, ge=1, le=10**6)
    full: int | None = Field(default=None, ge=1, le=10**6)
    options: Mapping[str, Any] = Field(default_factory=dict)
    pruner_options: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def by_reference(self) -> bool:
        """True if the sampler or the pruner is a class that the file refers to."""
        return any(map(references.is_reference, (self.method or "", self.pruner)))

    @property
    def options_of_pruner(self) -> Mapping[str, Any]:
        """Keyword arguments of the class that ``pruner`` refers to."""
        alone = not references.is_reference(self.method or "")
        return self.pruner_options or (self.options if alone else {})

    @property
    def method(self) -> str | None:
        """The sampler; None for a list of configurations."""
        return None if self.configs is not None else self.sampler or DEFAULT_SAMPLER

    def takes(self, budget: float, run: int) -> float:
        """Epochs that a search of this arm trains at most.

        A list of configurations ends, be the budget as large as it may; an empty one is filled by
        hand while the study runs.

        Args:
            budget: epochs.
            run: epochs of a full search run.
        """
        return min(budget, len(self.configs) * run) if self.configs else budget

    @property
    def learns(self) -> bool:
        """True if what is run, and how far, depends on what earlier runs came to.

        Then it also depends on when they ended, if several workers share a search.
        """
        sampler = SAMPLERS.entry(self.method) if self.method is not None else None
        return PRUNERS.entry(self.pruner).stops_runs or (sampler is not None and sampler.learns)

    @model_validator(mode="before")
    @classmethod
    def _one_name_a_key(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for old, new in OLD_KEYS.items():
                if old in values and new in values:
                    raise ValueError(f"has {new} and {old}, its old name; take {old} out")
        return values

    def _check_options(self) -> None:
        for key in ("options", "pruner_options"):
            check_keywords(key, getattr(self, key))
        sampler = references.is_reference(self.method or "")
        pruner = references.is_reference(self.pruner)
        for key, able, what in (
            ("options", sampler or pruner, "a sampler or pruner"),
            ("pruner_options", pruner, "a pruner"),
        ):
            if getattr(self, key) and not able:
                raise ValueError(
                    f'{key} is for {what} by reference, as in "optuna.samplers:CmaEsSampler"; '
                    "take it out, or change the arm"
                )
        if self.options and self.pruner_options and not sampler:
            raise ValueError(
                "has options and pruner_options, and the pruner alone is a reference; give one"
            )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sampler is not None and self.persona is not None:
            raise ValueError("has a sampler and a persona (hand-tuned); give one of them, not both")
        if self.sampler is not None and self.configs is not None:
            raise ValueError(
                "has a sampler and configs = [...] (hand-tuned); give one of them, not both"
            )
        sampler = SAMPLERS.entry(self.method) if self.method is not None else None
        pruner = PRUNERS.entry(self.pruner)
        self._check_options()
        if sampler and sampler.stops_runs and pruner.stops_runs:
            raise ValueError(f"{self.method} pauses weak runs itself; take the pruner out")
        if (self.start_from or self.prior_from) and not (sampler and sampler.takes_hand_tuned):
            able = [f'"{name}"' for name in SAMPLERS if SAMPLERS.entry(name).takes_hand_tuned]
            raise ValueError(
                f"start_from and prior_from are for sampler = {' or '.join(able)}; "
                "take them out, or change the sampler"
            )
        for use, keys in OF_SOME.items():
            for key in keys:
                if getattr(self, key) is not None and not (sampler and getattr(sampler, use)):
                    able = [f'"{name}"' for name in SAMPLERS if getattr(SAMPLERS.entry(name), use)]
                    raise ValueError(
                        f"{key} is for sampler = {' or '.join(able)}; take it out, or change the "
                        "sampler"
                    )
        return self


def without_note(config: Mapping[str, Choice]) -> dict[str, Choice]:
    """The parameters of a hand-tuned configuration alone."""
    return {name: value for name, value in config.items() if name != CONFIG_NOTE}
