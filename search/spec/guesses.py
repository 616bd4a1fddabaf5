"""What to search of a parameter, guessed from its name, its default and its choices.

A guess is where to start from. People are told to look at each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_RATES = (
    "lr", "learning_rate", "weight_decay", "wd", "eta", "decay", "l1", "l2", "reg", "alpha",
    "lambda", "lambda_", "lam", "eps", "epsilon", "temperature", "tau", "sigma", "tol",
)  # fmt: skip
_SHARES = ("momentum", "beta", "beta1", "beta2", "ema", "ema_decay", "gamma", "rho")
_DROPS = (
    "dropout", "drop", "drop_rate", "drop_path", "p", "mixup", "cutmix", "label_smoothing", "noise"
)  # fmt: skip
_KNOWN: Final = {
    "lr": "{ low = 0.0001, high = 1.0, log = true }",
    "momentum": "{ low = 0.5, high = 0.99 }",
    "weight_decay": "{ low = 1e-6, high = 1e-2, log = true }",
    "dropout": "{ low = 0.0, high = 0.5 }",
    "batch_size": "[16, 32, 64, 128]",
}
_ALSO: Final = {"learning_rate": "lr", "wd": "weight_decay", "drop_rate": "dropout", "eta": "lr",
                "drop": "dropout", "bs": "batch_size", "batch": "batch_size"}  # fmt: skip
_MIDDLES: Final = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.1,
                   "batch_size": 32}  # fmt: skip
COLUMN = 44
"""Characters before a comment that stands beside a line."""
WIDTH = 10.0
"""A range on a logarithmic scale goes from the default divided by this to the default times it."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a user's code, as far as that tells of it.

    Attributes:
        default: None if it has none, or it is none that a file could hold.
        choices: the values that it may have; empty if that is not said.
        kind: the type that it is said to have; None if that is not said.
    """

    name: str
    default: Any = None
    choices: Sequence[Any] = ()
    kind: type | None = None


@dataclass(frozen=True)
class Guess:
    """What to search of a parameter.

    Attributes:
        text: as [space] of a study file has it.
        value: of a hand-tuned configuration: the default, or what is usual.
        why: in a few words, for a comment beside it.
    """

    name: str
    text: str
    value: Any
    why: str


def guess(parameter: Parameter) -> Guess | None:
    """What to search of a parameter; None if nothing tells."""
    name, default = parameter.name, parameter.default
    if parameter.choices:
        value = default if default in parameter.choices else parameter.choices[0]
        if len(parameter.choices) < 2:
            return None
        return Guess(name, shown(list(parameter.choices)), value, "its choices")
    if parameter.kind is bool or isinstance(default, bool):
        return Guess(name, "[false, true]", bool(default), "on or off")
    short = _short(name)
    usual = _ALSO.get(short, short)
    if default is None or (default == 0 and usual in _KNOWN):
        if usual not in _KNOWN:
            return None
        value = _MIDDLES[usual]
        return Guess(name, _KNOWN[usual], value, "no default is known: what is usual")
    if isinstance(default, int):
        return _of_integer(name, default) if parameter.kind is not float else _of_float(name,
            float(default), short)  # fmt: skip
    if isinstance(default, float) and math.isfinite(default):
        return _of_float(name, default, short)
    return None


def _of_integer(name: str, default: int) -> Guess | None:
    if default <= 0:
        return None
    low, high = max(1, default // 4), default * 4
    text = f"{{ low = {low}, high = {high}, log = true }}"
    return Guess(name, text, default, f"whole numbers around the default, {default}")


def _of_float(name: str, default: float, short: str) -> Guess | None:
    if short in _SHARES and 0 < default < 1:
        high = max(0.99, 1 - (1 - default) / 10)
        text = f"{{ low = {shown(min(0.5, default / 2))}, high = {shown(_rounded(high))} }}"
        return Guess(name, text, default, f"a share around the default, {shown(default)}")
    if short in _DROPS and 0 <= default < 1:
        text = f"{{ low = 0.0, high = {shown(_rounded(min(0.9, max(0.5, 2 * default))))} }}"
        return Guess(name, text, default, f"a share, with the default, {shown(default)}, inside")
    if default <= 0:
        return None
    if short in _RATES or default < 0.01 or default > 1000:
        ends = (
            f"low = {shown(_rounded(default / WIDTH))}, high = {shown(_rounded(default * WIDTH))}"
        )
        why = f"a factor of 100 around the default, {shown(default)}"
        return Guess(name, f"{{ {ends}, log = true }}", default, why)
    text = f"{{ low = {shown(_rounded(default / 2))}, high = {shown(_rounded(default * 2))} }}"
    return Guess(name, text, default, f"half to twice the default, {shown(default)}")


def shown(value: Any) -> str:
    """A value as TOML has it; what has no form there as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


def beside(text: str, comment: str) -> str:
    """A line of a study file with a comment beside it."""
    return f"{text:<{COLUMN}}  # {comment}"


def _rounded(value: float) -> float:
    """To three digits, so that 0.1 / 10 is 0.01."""
    return float(f"{value:.3g}")


def _short(name: str) -> str:
    """The last part of a name that is put together: "lr" of "optimizer.lr"."""
    return name.replace("-", "_").replace("/", ".").rpartition(".")[2].lower()
