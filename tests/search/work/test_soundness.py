"""Whether training repeats and resumes is found out, for loops that do and loops that do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tuneoff import references
from tuneoff.search.cli.checking import lines
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.work.soundness import Part, Soundness, examine, price
from tuneoff.trainer.errors import Diverged, OwnCodeError
from tuneoff.trainer.own.loop import LoopTrainer

_numbers = itertools.count()
LOOP = """
import itertools, random
calls = itertools.count()


def train(params, context):
    state = context.resume or [1.0, 0]
    for epoch in context.remaining:
        state = [state[0] * 0.5 + params["x"] / 1000, epoch]
        SAVE
        context.report(epoch, VALUE)
"""
SAVE = "context.save(state)"
SPACE: Final = {"x": {"low": 1, "high": 9}}


@pytest.fixture
def spec_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StudySpec]:
    """A study of this loop."""
    monkeypatch.syspath_prepend(tmp_path)

    def spec(
        value: str = "state[0]",
        save: str = SAVE,
        space: Mapping[str, Any] = SPACE,
        **trial: Any,
    ) -> StudySpec:
        name = f"sound{next(_numbers)}"
        text = LOOP.replace("SAVE", save).replace("VALUE", value)
        (tmp_path / f"{name}.py").write_text(text)
        references.allow([name])
        return StudySpec.parse(
            {
                "name": "sound",
                "repeats": 2,
                "trial": {"trainer": f"{name}:train", "epochs": 4} | trial,
                "space": space,
                "budget": {"epochs": 8},
                "arms": {"a": {"sampler": "random"}, "b": {"sampler": "tpe"}},
                "promote": {"epochs": 5, "seeds": 3, "top": 1},
            },
            "test",
        )

    return spec


def found_of(spec: StudySpec, folder: Path) -> tuple[Soundness, str]:
    found = examine(spec, SearchSpace.of(spec), LoopTrainer(), folder)
    return found, "\n".join(lines(found, spec))


def test_a_loop_that_keeps_its_state_is_sound(spec_of: Any, tmp_path: Path) -> None:
    found, said = found_of(spec_of(), tmp_path / "check")
    assert found.is_sound
    assert found.resumed
    assert found.params == {"x": 5}
    assert found.whole == found.stopped == pytest.approx((0.505, 0.2575))
    assert "Same seed twice: equal." in said
    assert "Stopped and resumed: equal to the run that was not stopped." in said
    assert "for 32 epochs, full training" in said
    assert "for 60 epochs); N workers take about one Nth of it." in said


def test_a_training_on_more_images_takes_longer_by_as_much() -> None:
    spec = StudySpec.parse(
        {
            "name": "part",
            "repeats": 2,
            "data": {"name": "digits"},
            "trial": {"images": 100, "epochs": 4},
            "space": {"lr": {"low": 0.1, "high": 0.9}},
            "budget": {"epochs": 8},
            "arms": {"a": {"sampler": "random"}},
            "promote": {"epochs": 5, "seeds": 3, "top": 1},
            "ensemble": {
                "members": [{"model": "proxy", "images": 50}, {"model": "proxy", "epochs": 2}]
            },
        },
        "test",
    )
    assert [(part.name, part.epochs, part.seconds) for part in price(spec, 2.0, 1000)] == [
        ("search", 16, 32.0),
        ("full training", 30, 30 * 2.0 * 10),
        ("ensemble", 7, 5 * 2.0 / 2 + 2 * 2.0 * 10),
    ]


def test_a_list_of_configurations_ends_before_its_budget(spec_of: Any) -> None:
    values = spec_of().model_dump(mode="json")
    epochs = values["trial"]["epochs"]
    values |= {"repeats": 3, "budget": {"epochs": 2 * epochs}}

    def searched(*tried: int) -> int | None:
        arms = {"hand": {"configs": [{"x": x} for x in tried]}}
        return price(StudySpec.parse(values | {"arms": arms}, "test"), 0.5)[0].epochs

    assert searched(1) == 3 * epochs
    assert searched(1, 2, 3) == 3 * 2 * epochs
    assert searched() == 3 * 2 * epochs  # filled by hand


def test_a_search_of_seconds_takes_what_it_is_given(spec_of: Any, tmp_path: Path) -> None:
    values = spec_of().model_dump(mode="json") | {"budget": {"hours": 0.5}}
    spec = StudySpec.parse(values, "test")
    assert price(spec, 0.1)[0] == Part("search", None, 4 * 1800.0)
    short = StudySpec.parse(values | {"budget": {"seconds": 1e-9}}, "test")
    found = examine(short, SearchSpace.of(short), LoopTrainer(), tmp_path / "check")
    assert "no run ends within it; raise the budget" in "\n".join(lines(found, short))


def test_one_that_draws_without_a_seed_is_not(spec_of: Any, tmp_path: Path) -> None:
    found, said = found_of(spec_of("0.1 * (1 + next(calls))"), tmp_path / "check")
    assert not found.is_sound
    assert "Same seed twice: not equal (validation error 10.00% and 30.00%); seed" in said


def test_one_that_forgets_part_of_its_state_is_not(spec_of: Any, tmp_path: Path) -> None:
    found, said = found_of(spec_of(save="context.save([1.0, epoch])"), tmp_path / "check")
    assert found.repeats == 0
    assert not found.is_sound
    assert "Stopped and resumed: not equal (validation error 25.75% without a stop, 50.50%" in said


def test_one_that_saves_nothing_begins_again(spec_of: Any, tmp_path: Path) -> None:
    found, said = found_of(spec_of(save="pass"), tmp_path / "check")
    assert found.is_sound
    assert found.resumed is False
    assert "it began again, as nothing was kept of its first epoch" in said


def test_a_run_of_one_epoch_is_not_stopped(spec_of: Any, tmp_path: Path) -> None:
    found, said = found_of(spec_of(epochs=1), tmp_path / "check")
    assert found.is_sound
    assert "Stopped and resumed: not tried, as a run has one epoch." in said


def test_the_middle_of_the_space_may_break_down(spec_of: Any, tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        found_of(spec_of("float('nan')"), tmp_path / "check")


def test_full_training_is_bounded_as_the_file_says(spec_of: Any) -> None:
    spec = spec_of().changed(["compare.epochs=20"])
    assert [(part.name, part.epochs) for part in price(spec, 0.5)] == [
        ("search", 32),
        ("full training", 35),
    ]


def test_what_the_metric_cannot_be_is_refused(spec_of: Any, tmp_path: Path) -> None:
    with pytest.raises(OwnCodeError, match="reported 55 in epoch 1, and error lies between 0 and"):
        found_of(spec_of("55.0"), tmp_path / "check")


def test_a_parameter_that_plays_no_part_is_not_said(spec_of: Any, tmp_path: Path) -> None:
    how = {"y": ["a", "b"], "of_a": {"low": 1, "high": 3, "when": "y = 'a'"}}
    found, said = found_of(spec_of(space=SPACE | how), tmp_path / "check")
    assert found.params == {"x": 5, "y": "b"}
    assert "of_a" not in said
