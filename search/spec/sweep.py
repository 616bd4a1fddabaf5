"""W&B sweeps: what a sweep's configuration says, as the draft of a study file.

The format is W&B's, "Define sweep configuration" in its documentation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tuneoff.messages import printable
from tuneoff.search.errors import UserError
from tuneoff.search.spec.draft import EPOCHS, Draft
from tuneoff.search.spec.guesses import Guess, shown
from tuneoff.trainer.own.recipe import RESERVED

_TAKEN = ("method", "metric", "parameters", "program", "command", "early_terminate")
_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")  # W&B's own, where none is given
_SHARE = re.compile(r"acc|auc|f1|precision|recall|err", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_LOG = ("log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values")
_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
_LINEAR = ("uniform", "int_uniform", "q_uniform")


def draft_of(name: str, sweep: Any, origin: str) -> Draft:
    """The study file that a sweep's configuration makes; its notes say what was not taken over.

    Args:
        name: of the study.
        sweep: what the YAML file holds.
        origin: where it is from, for the heading.

    Raises:
        UserError: it is no configuration of a sweep.
    """
    if not isinstance(sweep, Mapping) or not isinstance(sweep.get("parameters"), Mapping):
        raise UserError("holds no W&B sweep: there is no table of parameters in it")
    notes = [f"{key}: not taken over" for key in sweep if key not in _TAKEN]
    found = _Parameters(notes)
    found.read(sweep["parameters"], "")
    command = _command(sweep, found.given, notes)
    method = sweep.get("method", "bayes")
    if method == "grid":
        notes.append('method: grid; add [arms.grid] with sampler = "grid" for that')
    elif method not in ("bayes", "random"):
        notes.append(f"method: {method} is not known; bayes and random are compared")
    if (early := sweep.get("early_terminate")) is not None:
        kind = early.get("type") if isinstance(early, Mapping) else early
        notes.append(
            f"early_terminate: {kind}; curve-gp pauses weak runs itself, and another arm does so "
            'with pruner = "hyperband"'
        )
    metric = _metric(sweep.get("metric"), notes)
    return Draft(
        name, origin, "command", command, found.guesses, found.fixed,
        notes=[printable(note) for note in notes], epochs=found.epochs or EPOCHS,
        metric=metric,
    )  # fmt: skip


class _Parameters:
    """What the parameters of a sweep come to.

    Attributes:
        guesses, fixed: see ``Draft``.
        epochs: of [trial]; None if the sweep does not fix them.
        given: reserved names that the sweep gives to its command, which tuneoff gives itself.
    """

    def __init__(self, notes: list[str]) -> None:
        self.guesses: list[Guess] = []
        self.fixed: dict[str, Any] = {}
        self.epochs: int | None = None
        self.given: list[str] = []
        self._notes = notes

    def read(self, parameters: Mapping[str, Any], prefix: str) -> None:
        """Take these parameters over; nested ones by their names with dots."""
        for key, spec in parameters.items():
            name = f"{prefix}{key}"
            if isinstance(spec, Mapping) and isinstance(spec.get("parameters"), Mapping):
                self._notes.append(f"parameters.{name}: its parameters are called {name}.NAME")
                self.read(spec["parameters"], f"{name}.")
            elif name in RESERVED:
                self._reserved(name, spec)
            else:
                self._one(name, spec if isinstance(spec, Mapping) else {"value": spec})

    def _reserved(self, name: str, spec: Any) -> None:
        value = spec.get("value") if isinstance(spec, Mapping) else spec
        if name in ("epochs", "seed"):
            self.given.append(name)
        if name == "epochs" and type(value) is int and value > 0:
            self.epochs = value
        else:
            self._notes.append(f"parameters.{name}: not searched; {RESERVED[name]}")

    def _one(self, name: str, spec: Mapping[str, Any]) -> None:
        values = spec.get("values")
        if isinstance(values, list) and values:
            if "probabilities" in spec:
                self._notes.append(f"parameters.{name}.probabilities: all are as likely")
            choices = list(dict.fromkeys(map(_number, values)))
            if not all(isinstance(each, bool | int | float | str) for each in choices):
                self._notes.append(f"parameters.{name}: a value is no number or word; left out")
            elif len(choices) == 1:
                self.fixed[name] = choices[0]
            else:
                self.guesses.append(Guess(name, shown(choices), choices[0], "as in the sweep"))
        elif "value" in spec:
            value = _number(spec["value"])
            if isinstance(value, bool | int | float | str):
                self.fixed[name] = value
            else:
                self._notes.append(f"parameters.{name}: {value!r} is no number or word; left out")
        else:
            self._range(name, spec)

    def _range(self, name: str, spec: Mapping[str, Any]) -> None:
        low, high = _number(spec.get("min")), _number(spec.get("max"))
        kind = spec.get("distribution")
        if "mu" in spec or (isinstance(kind, str) and kind.endswith("normal")):
            mean, spread = _number(spec.get("mu", 0.0)), _number(spec.get("sigma", 1.0))
            if _is_number(mean) and _is_number(spread):
                low, high = mean - 2.0 * spread, mean + 2.0 * spread
                if "log" in str(kind):
                    low, high = math.exp(low), math.exp(high)
                self._notes.append(f"parameters.{name}: {kind}; searched evenly over two sigmas")
        elif kind in _EXPONENTS and _is_number(low) and _is_number(high):
            low, high = float(f"{math.exp(low):.6g}"), float(f"{math.exp(high):.6g}")
        elif kind not in (None, *_LOG, *_LINEAR, *_EXPONENTS):
            low = None
        if not (_is_number(low) and _is_number(high) and low < high):
            self._notes.append(f"parameters.{name}: {dict(spec)!r} is not understood; left out")
            return
        log = "log" in str(kind)
        if log and low <= 0:
            self._notes.append(f"parameters.{name}: a log range starts above 0; left out")
            return
        if str(kind).startswith("inv"):
            self._notes.append(f"parameters.{name}: {kind}; searched on a log scale")
        if not (type(low) is int and type(high) is int and kind in (None, "int_uniform", *_LOG)):
            low, high = float(low), float(high)
        if "q" in spec:
            self._notes.append(f"parameters.{name}.q: steps are not taken over")
        middle = math.sqrt(low * high) if log else (low + high) / 2
        value = round(middle) if type(low) is int else min(max(float(f"{middle:.3g}"), low), high)
        text = f"{{ low = {shown(low)}, high = {shown(high)}{', log = true' if log else ''} }}"
        self.guesses.append(Guess(name, text, value, "as in the sweep"))


def _command(sweep: Mapping[str, Any], given: list[str], notes: list[str]) -> str:
    """The command as a template of ours."""
    words = sweep.get("command") or _COMMAND
    program = str(sweep.get("program", "train.py"))
    if "program" not in sweep and "command" not in sweep:
        notes.append("program: is missing; train.py is assumed")
    plain = {"${env}": "", "${interpreter}": "python", "${program}": program,
             "${args_json}": "{params}", "${args_no_boolean_flags}": "${args}"}  # fmt: skip
    made = []
    for word in [words] if isinstance(words, str) else words:
        word = plain.get(str(word), str(word))
        if word.startswith("${") and word not in ("${args}", "${args_no_hyphens}"):
            notes.append(f"command: {word} has nothing in its place here; left out")
        elif word:
            made.append(word)
    hyphens = "" if "${args_no_hyphens}" in made else "--"
    made += [f"{hyphens}{name}={{{name}}}" for name in given if f"{{{name}}}" not in made]
    if "epochs" not in given:
        notes.append("command: is not told its epochs; add {epochs} if it can be")
    notes.append("The command must report each epoch: tuneoff.report(epoch, value), as wandb.log")
    return " ".join(made)


def _metric(metric: Any, notes: list[str]) -> list[str]:
    """The lines of [metric]."""
    if not isinstance(metric, Mapping) or "name" not in metric:
        return []
    name, up = str(metric["name"])[:64], metric.get("goal") == "maximize"
    lines = ["[metric]", f"name = {shown(name)}",
             f'direction = "{"maximize" if up else "minimize"}"']  # fmt: skip
    if _SHARE.search(name):
        return [*lines, "percent = true              # if its values go from 0 to 1"]
    notes.append("metric: say which value is as bad as guessing, in [metric] worst")
    return [*lines, "# worst = ...               # the value of a run that diverges"]


def _number(value: Any) -> Any:
    """A value; as a number where it is one that YAML 1.1 takes for text, as 1e-4."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
