"""[budget] of a study file: what each arm may spend in each repeat."""

from __future__ import annotations

from typing import Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from tuneoff.messages import counted
from tuneoff.search.spec.section import Section
from tuneoff.search.spec.stop_rule import StopRule

CURRENCIES = ("epochs", "seconds", "hours")
"""Keys of [budget], of which a study file has one."""


class BudgetSpec(Section):
    """[budget]: what each arm may spend in each repeat: epochs of training, or its time.

    Attributes:
        epochs, seconds, hours: one of them. Time is that of training with its evaluation, over all
            workers, as the ledger has it: without waiting, and without epochs that were cut off.
        stop_when: a search ends before that once it is expected to gain less, as in
            "gain < 0.1 within 50 epochs" (see ``stop_rule``); None: it spends its budget.
    """

    epochs: int | None = Field(default=None, gt=0, le=10**9)
    seconds: float | None = Field(default=None, gt=0, le=10**10)
    hours: float | None = Field(default=None, gt=0, le=10**6)
    stop_when: str | None = None

    @field_validator("stop_when")
    @classmethod
    def _one_spelling(cls, value: str | None) -> str | None:
        return None if value is None else str(StopRule.parse(value))

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        given = [name for name in CURRENCIES if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has none of them"
            raise ValueError(f"{found}; give one of epochs, seconds and hours")
        if self.epochs is None and self.stop_when is not None:
            raise ValueError(
                f"stop_when looks epochs ahead, and the budget is in {given[0]}; give it in "
                "epochs, or take stop_when out"
            )
        return self

    @model_serializer(mode="wrap")
    def _one_of_them(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said: dict[str, Any] = serialize(self)
        return {k: v for k, v in said.items() if k not in CURRENCIES or v is not None}

    @property
    def time(self) -> float | None:
        """Seconds of training; None if the budget is in epochs."""
        return self.seconds if self.hours is None else 3600 * self.hours

    @property
    def words(self) -> str:
        """The budget in words: "36 epochs", "2 h of training"."""
        if self.epochs is not None:
            return counted(self.epochs, "epoch")
        return (
            f"{self.seconds:g} s of training"
            if self.hours is None
            else f"{self.hours:g} h of training"
        )

    @property
    def stop_rule(self) -> StopRule | None:
        """``stop_when``, read."""
        return None if self.stop_when is None else StopRule.parse(self.stop_when)
