"""The text of a study file to start from, for a user's own training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneoff.search.spec.guesses import Guess, Parameter, beside, guess, shown

EPOCHS, TRIALS = 5, 10
"""Of one search run, and search runs that the budget of an arm pays for."""


@dataclass(frozen=True)
class Draft:
    """What is known of a training of a user's own.

    Attributes:
        name: of the study.
        origin: what the file was made from, as a heading says it.
        door: "trainer" or "command".
        code: the reference or the command.
        guesses: what is to be searched.
        fixed: values of parameters that are not.
        unknown: names of parameters of which nothing is known.
        notes: what people have to do or to know, a line each.
        epochs: of one search run.
        trials: search runs that each arm's budget pays for.
        metric: lines of [metric]; without any, how to write it stands there as a comment.
        sampler: of the arm that is compared with hand tuning.
        settings: further lines of that arm.
    """

    name: str
    origin: str
    door: str
    code: str
    guesses: Sequence[Guess]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    notes: Sequence[str] = ()
    epochs: int = EPOCHS
    trials: int = TRIALS
    metric: Sequence[str] = ()
    sampler: str = "curve-gp"
    settings: Sequence[str] = ()


def split_up(
    parameters: Sequence[Parameter],
) -> tuple[list[Guess], dict[str, Any], list[str]]:
    """Guesses of what to search, values of what else has a default, and the names of the rest."""
    guesses: list[Guess] = []
    fixed: dict[str, Any] = {}
    unknown: list[str] = []
    for parameter in parameters:
        found = guess(parameter)
        if found is not None:
            guesses.append(found)
        elif isinstance(parameter.default, bool | int | float | str):
            fixed[parameter.name] = parameter.default
        else:
            unknown.append(parameter.name)
    return guesses, fixed, unknown


def text_of(draft: Draft) -> str:
    """The study file."""
    lines = [
        f"# {draft.origin}",
        "# Look at every line: what is searched was guessed. Then:",
        f"#     tuneoff check {draft.name}.toml     # do runs repeat and resume?",
        f"#     tuneoff run {draft.name}.toml",
        *(f"# {note}" for note in draft.notes),
        f'name = "{draft.name}"',
        "seed = 0",
        beside("repeats = 4", "each arm searches so often; two at least, ten are a good number"),
        "",
        "[trial]",
        f"{draft.door} = {shown(draft.code)}",
        beside(f"epochs = {draft.epochs}", "of one search run"),
        "",
    ]
    if draft.fixed or draft.unknown:
        lines += [beside("[trial.params]", "what is given, but not searched")]
        lines += [f"{_key(name)} = {shown(value)}" for name, value in draft.fixed.items()]
        lines += [f"# {_key(name)} = ...    # no default is known" for name in draft.unknown]
        lines += [""]
    lines += ["[space]"]
    lines += [beside(f"{_key(each.name)} = {each.text}", each.why) for each in draft.guesses]
    if not draft.guesses:
        lines += [
            "# Nothing was found to search. Write each parameter's range, or list its choices:",
            "# lr = { low = 1e-4, high = 1.0, log = true }",
            '# optimizer = ["sgd", "adamw"]',
        ]
    budget = draft.epochs * draft.trials
    lines += [
        "",
        "[budget]",
        beside(f"epochs = {budget}", f"for each arm and repeat: {draft.trials} full runs"),
        "",
        "[arms.bayes]",
        f'sampler = "{draft.sampler}"',
        *draft.settings,
        "",
        beside("[arms.hand]", "what you would try by hand, before you see any result"),
        *_configs(draft.guesses),
        "",
        "[arms.random]",
        'sampler = "random"',
        "",
        beside("[promote]", "full training of what each arm recommends"),
        "top = 1",
        "seeds = 2",
        f"epochs = {draft.epochs}",
        "",
    ]
    lines += draft.metric or [
        beside("# [metric]", "what your code reports is an error, 0 to 1,"),
        beside('# name = "accuracy"', "unless this section says what it is"),
        '# direction = "maximize"',
    ]
    return "\n".join(lines) + "\n"


def _configs(guesses: Sequence[Guess]) -> list[str]:
    values = ", ".join(f"{_key(each.name)} = {shown(each.value)}" for each in guesses)
    return [
        "configs = [",
        f'  {{ {values}{", " if values else ""}note = "the defaults" }},',
        "]",
    ]


def _key(name: str) -> str:
    return (
        name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else shown(name)
    )
