"""What a study measures: which direction is good, how values are stored, and how they are shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

Direction = Literal["minimize", "maximize"]

NOTHING: Final = "–"  # where there is nothing to show


_TURNED: Final = {
    "lowest": "highest",
    "Lowest": "Highest",
    "lower": "higher",
    "higher": "lower",
    "below": "above",
    "above": "below",
    "low": "high",
    "least": "most",
    "Lower": "Higher",
    "falls": "rises",
    "fell": "rose",
}
"""Words for where a value lies, as they are said where higher is better."""
_UNITS: Final = re.compile(r",? (?:percentage )?points(?: of error)?(?!\w)|, %|,? \(percent\)")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. Values are stored so that lower is better, and shown as people know them.

    A metric that is minimised is stored as it is. One that is maximised is stored as one minus its
    value where it is a share (``percent``), so that it stays within 0 to 1, else as its negative. A
    difference of stored values, the baseline's minus the reference's, is positive where the
    reference is better, and is shown as it is, in the metric's unit.

    Attributes:
        name: "error", "AUROC", "validation loss"...
        direction: what is good.
        percent: values are shares, 0 to 1, and are shown in percent and in percentage points.
        worst: as people know it: of a run that diverged or cannot say. None: the trainer says what
            guessing comes to.
    """

    name: str = "error"
    direction: Direction = "minimize"
    percent: bool = True
    worst: float | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > 64:
            raise ValueError("name: give 1 to 64 printable characters")
        if self.direction not in ("minimize", "maximize"):
            raise ValueError(f"direction: {self.direction!r} is neither minimize nor maximize")
        if self.worst is not None and not math.isfinite(self.worst):
            raise ValueError(f"worst: {self.worst} is refused; give a finite number")
        if self.worst is not None and self.percent and not 0 <= self.worst <= 1:
            raise ValueError(f"worst: {self.worst:g} is refused; a share lies between 0 and 1")

    # Stored and shown values

    @property
    def maximised(self) -> bool:
        """True if higher is better."""
        return self.direction == "maximize"

    def stored(self, value: float) -> float:
        """What is stored of a value as the user's code reports it: lower is better.

        This is asked where reports are read, and nowhere else. NaN and infinities stay what they
        are, with the sign that they come to.
        """
        if not self.maximised:
            return value
        return 1.0 - value if self.percent else 0.0 - value

    def value(self, stored: float) -> float:
        """The value that people know; the inverse of ``stored``, which is its own inverse."""
        return self.stored(stored)

    @property
    def worst_stored(self) -> float | None:
        """``worst`` as it is stored."""
        return None if self.worst is None else self.stored(self.worst)

    @property
    def stored_name(self) -> str:
        """What the stored values are on the validation split, for whoever sees them as such."""
        shown = self.on("validation")
        if not self.maximised:
            return shown
        return f"1 - {shown}" if self.percent else f"-({shown})"

    def number(self, stored: float) -> float:
        """The value that is shown, in the metric's unit: percent, or as it is."""
        return self.factor * self.value(stored)

    @property
    def factor(self) -> float:
        """By which a value, or a difference of values, is multiplied before it is shown."""
        return 100.0 if self.percent else 1.0

    @property
    def stored_range(self) -> tuple[float, float]:
        """The lowest and the highest stored value that can be; infinite where none is known."""
        low, high = (0.0, 1.0) if self.percent else RANGES.get(self.bare.lower(), _ANY)
        ends = self.stored(low), self.stored(high)
        return min(ends), max(ends)

    def range_of(self, seen: Iterable[float]) -> tuple[float, float]:
        """``stored_range`` where these stored values were measured; none if one lies outside.

        What was measured is possible: code of a user's own may report F1 in percent.
        """
        low, high = self.stored_range
        if not self.percent and any(value < low or value > high for value in seen):
            return _ANY
        return low, high

    @property
    def kind(self) -> tuple[str, Direction, bool]:
        """Equal for metrics whose values can be compared."""
        return self.name, self.direction, self.percent

    def possible(self, difference: float) -> float:
        """A difference of shares within -1 to 1, which an interval by Student's t may leave."""
        return min(1.0, max(-1.0, difference)) if self.percent else difference

    def says_nothing(self, low: float, high: float) -> bool:
        """True if an interval holds every difference that there can be."""
        return self.percent and low == -1 and high == 1

    # Values as text

    def text(self, stored: float) -> str:
        """A value with its unit: "12.34%", "0.9120"."""
        return f"{self.cell(stored)}%" if self.percent else self.cell(stored)

    def about(self, stored: float, split: str) -> str:
        """What may be expected: "about 12.34% test error", "a test AUROC of about 0.9120"."""
        if self.percent:
            return f"about {self.text(stored)} {self.on(split)}"
        return f"a {self.on(split)} of about {self.text(stored)}"

    def cell(self, stored: float | None) -> str:
        """A value without its unit, for a column that names it; a dash for None."""
        if stored is None:
            return NOTHING
        shown = self.number(stored)
        return f"{shown:.2f}" if self.percent else four_digits(shown)

    @property
    def in_unit(self) -> str:
        """What follows a name in a column's title or an axis': ", %", or nothing."""
        return ", %" if self.percent else ""

    def reach(self, stored: Iterable[float]) -> tuple[float, float]:
        """Of several stored values, the one that is shown as the lowest, and as the highest."""
        values = list(stored)
        ends = min(values), max(values)
        return ends[::-1] if self.maximised else ends

    def drawn(self, errors: Iterable[float], digits: int = 4) -> list[float]:
        """Values as figures have them, in few enough digits to keep a page small.

        Args:
            digits: after the point, of a percentage.
        """
        if self.percent:
            return [round(self.number(error), digits) for error in errors]
        return [float(f"{self.number(error):.6g}") for error in errors]

    def hover(self, name: str = "y") -> str:
        """How plotly writes a value that ``drawn`` made: "%{y:.2f}%"."""
        return f"%{{{name}:.2f}}%" if self.percent else f"%{{{name}:.4g}}"

    # Differences as text

    def difference(self, stored: float) -> str:
        """A difference with its sign, positive where the reference is better: "+0.54"."""
        if self.percent:
            return f"{round(self.factor * stored, 2) + 0.0:+.2f}"  # -0.0 + 0.0 is 0.0
        return f"{'+' if stored >= 0 else '-'}{three_digits(abs(stored))}"

    def size(self, stored: float) -> str:
        """How large a difference is, without its unit: "0.54"."""
        return f"{abs(self.factor * stored):.2f}" if self.percent else three_digits(abs(stored))

    def span(self, low: float, high: float) -> str:
        """An interval of a difference: "-0.24 to +0.38".

        An end that is rounded to zero keeps its side, as it decides: "-0.24 to just below 0".
        """
        return f"{self._end(low)} to {self._end(high)}"

    def unsigned(self, stored: float) -> str:
        """A difference with a sign only where it is negative: "0.54", "-0.24"."""
        return self.difference(stored).removeprefix("+")

    def amount(self, stored: float) -> str:
        """How large a difference is: "0.54 points", "0.0123"."""
        return f"{self.size(stored)}{self.points}"

    def plain(self, stored: float) -> str:
        """A difference that somebody declared, in as many digits as it has: "0.5"."""
        return f"{self.factor * stored:g}"

    def no_difference(self, stored: float) -> bool:
        """True if a difference is shown as zero."""
        return self.difference(stored) == self.difference(0.0)

    @property
    def least_shown(self) -> float:
        """The smallest difference that is not shown as zero."""
        return 0.0001 if self.percent else math.ulp(0.0)

    @property
    def points(self) -> str:
        """What follows a difference: " points", or nothing."""
        return " points" if self.percent else ""

    @property
    def percentage_points(self) -> str:
        """The same where it is named in full."""
        return " percentage points" if self.percent else ""

    @property
    def in_points(self) -> str:
        """What follows the name of differences in a column's title: ", points", or nothing."""
        return ", points" if self.percent else ""

    def _end(self, stored: float) -> str:
        if stored == 0 or not self.no_difference(stored):
            return self.difference(stored)
        return "just above 0" if stored > 0 else "just below 0"

    # Words

    @property
    def bare(self) -> str:
        """The name without the split that it may begin with: "loss" of "validation loss"."""
        for split in ("validation ", "test "):
            if self.name.startswith(split) and len(self.name) > len(split):
                return self.name[len(split) :]
        return self.name

    @property
    def plural(self) -> str:
        """Several of its values: "errors", "losses", "AUROC values"."""
        return f"{self.bare}es" if self.bare.endswith("loss") else f"{self.one}s"

    @property
    def one(self) -> str:
        """One of its values, as a noun that takes an s: "error", "AUROC value"."""
        return self.bare if self.bare.endswith("error") else f"{self.bare} value"

    def on(self, split: str) -> str:
        """Its name on a split: "validation error", "test AUROC"."""
        return f"{split} {self.bare}"

    def in_words(self, text: str) -> str:
        """A sentence of ours about errors, as one about this metric: "lowest error" is "highest
        AUROC", "points" is left out where there is no such unit.

        Only for fixed words: what a user wrote, such as an arm's name, must not be in ``text``.
        """
        words = {"errors": self.plural, "error": self.bare, "Error": capitalised(self.bare)}
        if self.maximised:
            words |= _TURNED
        if not self.percent:
            text = _UNITS.sub("", text)
        # No word begins or ends within another, or within a name with a dash.
        found = "|".join(sorted(words, key=len, reverse=True))
        return re.sub(rf"(?<![\w-])(?:{found})(?![\w-])", lambda match: words[match[0]], text)

    @property
    def counts_mistakes(self) -> bool:
        """True for the share of images that are wrong or right, which has a binomial error."""
        return self.percent and self.bare in ("error", "accuracy")

    @property
    def is_error(self) -> bool:
        """True for a share of mistakes, in percent: "fewer errors" is another word for less."""
        return self.name == "error" and self.percent and not self.maximised

    @property
    def lower(self) -> str:
        """Which way a better value lies: "lower" or "higher"."""
        return "higher" if self.maximised else "lower"

    @property
    def higher(self) -> str:
        """Which way a worse value lies."""
        return "lower" if self.maximised else "higher"

    @property
    def lowest(self) -> str:
        """The best of several values is the "lowest" or the "highest"."""
        return "highest" if self.maximised else "lowest"

    # For JSON

    def to_dict(self) -> dict[str, Any]:
        """Plain values, by the attributes' names."""
        return {
            "name": self.name,
            "direction": self.direction,
            "percent": self.percent,
            "worst": self.worst,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The metric that ``to_dict`` wrote (ValueError, TypeError if it did not)."""
        return cls(**values)


ERROR: Final = Metric()
"""Top-1 error: what our trainer measures unless a study file says otherwise."""

KNOWN: Final[Mapping[str, Metric]] = {
    "error": ERROR,
    "macro error": Metric("macro error"),
    "accuracy": Metric("accuracy", "maximize"),
    "balanced accuracy": Metric("balanced accuracy", "maximize"),
    "F1": Metric("F1", "maximize", percent=False, worst=0.0),
    "AUROC": Metric("AUROC", "maximize", percent=False, worst=0.5),
    "loss": Metric("loss", percent=False),
    "validation loss": Metric("validation loss", percent=False),
    "log loss": Metric("log loss", percent=False),
    "perplexity": Metric("perplexity", percent=False),
}
"""Metrics whose direction and unit need not be said."""

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "f1": (0.0, 1.0),
    "auroc": (0.0, 1.0),
    "log loss": (0.0, math.inf),
    "perplexity": (1.0, math.inf),
}
"""By name in small letters, within what the values of a metric lie that is no share. A "loss" may
be anything: that of a density is below zero where the density is above one."""
_ANY: Final = (-math.inf, math.inf)


def known(name: str) -> Metric | None:
    """The metric of this name, whatever its capitals; None if it is not known."""
    return next((m for each, m in KNOWN.items() if each.lower() == name.lower()), None)


def capitalised(text: str) -> str:
    """With a capital at its beginning, and no other change."""
    return text[:1].upper() + text[1:]


def four_digits(value: float) -> str:
    """A number of any size in four digits: "0.9120", "23.41", "12,345", "1.2e+09"."""
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"
    size = abs(value)
    if size >= 1e7 or size < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}"


def three_digits(value: float) -> str:
    """A difference of any size in three digits: "0.0123", "1.20", "340"."""
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"
    if value >= 1e7 or value < 1e-4:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"
