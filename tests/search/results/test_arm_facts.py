"""What a comparison says of arms that were not alike, read from stored studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tuneoff.search.results.arm_facts import arm_facts, description_of
from tuneoff.search.results.compare import compare
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import ArmFacts
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.work.manual import enqueue_by_hand
from tuneoff.search.work.promote import enqueue_full
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer

LIST = {"configs": [{"lr": 0.03}, {"lr": 0.3}]}
TWO = {"bayes": {"configs": [{"lr": 0.03}]}, "hand": {"configs": [{"lr": 0.3}]}}


def facts_of(study: Study) -> dict[str, ArmFacts]:
    return arm_facts(Snapshot.of(study))


def remarks_of(study: Study) -> dict[str, tuple[str, ...]]:
    return {arm: facts.remarks for arm, facts in facts_of(study).items()}


@dataclass
class Travelling(CurveTrainer):
    """Each full training finds itself in the next of these environments."""

    places: Iterator[Mapping[str, str]] = field(default_factory=lambda: iter(()))

    def describe(self) -> Mapping[str, str]:
        return next(self.places)


class TestOfTheFile:
    @pytest.mark.parametrize(
        ("arm", "description", "independent"),
        [
            (LIST, "hand tuning", False),
            ({"sampler": "random"}, "random search", True),
            ({"sampler": "tpe"}, "Bayesian optimisation", False),
            ({"sampler": "random", "pruner": "median"}, "random search", False),
        ],
    )
    def test_what_an_arm_does(
        self,
        sqlite_database: Any,
        make_study: Any,
        arm: dict[str, Any],
        description: str,
        independent: bool,
    ) -> None:
        found = facts_of(make_study(sqlite_database, arms={"one": arm}))["one"]
        assert description in found.description
        assert found.independent is independent
        assert found.remarks == ()

    def test_arms_stand_in_the_order_of_the_file(
        self, sqlite_database: Any, make_study: Any
    ) -> None:
        arms = {"z": LIST, "a": {"sampler": "random"}, "m": LIST}
        assert list(facts_of(make_study(sqlite_database, arms=arms))) == ["z", "a", "m"]

    def test_a_list_of_ours_is_dated_and_one_persons(
        self, sqlite_database: Any, make_study: Any
    ) -> None:
        arms = {"hand": {"persona": "careful"}, "other": LIST}
        found = facts_of(make_study(sqlite_database, arms=arms))
        assert found["hand"].description == "careful hand tuning"
        said, _ = found["hand"].remarks  # and that the budget cuts it
        assert (
            said == 'runs the list "careful", written on 2026-11-27: one person\'s, a sample of one'
        )
        assert found["other"].description == "hand tuning"

    def test_every_sampler_is_called_something(self) -> None:
        assert description_of(ArmSpec()) == description_of(ArmSpec(sampler="curve-gp"))
        assert description_of(ArmSpec())

    @pytest.mark.parametrize(("budget", "cut"), [(9, True), (11, True), (12, False), (90, False)])
    def test_a_list_that_the_budget_cuts(
        self, sqlite_database: Any, make_study: Any, budget: int, cut: bool
    ) -> None:
        listed = {"configs": [{"lr": 0.01 * (1 + n)} for n in range(4)]}
        study = make_study(sqlite_database, arms={"hand": listed}, budget={"epochs": budget})
        said = "lists 4 configurations, of which the budget pays for the first 3"
        assert remarks_of(study) == {"hand": (said,) if cut else ()}

    def test_what_an_arm_was_told_of_another(self, sqlite_database: Any, make_study: Any) -> None:
        arms = {
            "bayes": {"sampler": "curve-gp", "start_from": "hand"},
            "told": {"sampler": "curve-gp", "prior_from": "hand"},
            "hand": LIST,
        }
        assert remarks_of(make_study(sqlite_database, arms=arms)) == {
            "bayes": ("begins with the settings of hand, at its own cost",),
            "told": ("was told the settings of hand, around which it expects the best",),
            "hand": (),
        }


class TestOfTheRuns:
    def test_what_people_entered_is_counted_over_all_repeats(
        self, sqlite_database: Any, make_study: Any
    ) -> None:
        arms = {"hand": LIST, "other": LIST}
        study = make_study(sqlite_database, arms=arms, repeats=2, budget={"epochs": 30})
        enqueue_by_hand(study, {"lr": 0.05}, "hand", 0, "a hunch")
        said = "has 1 run that people entered while the study went on"
        assert remarks_of(study) == {"hand": (said,), "other": ()}
        enqueue_by_hand(study, {"lr": 0.06}, "hand", None, None)
        assert remarks_of(study)["hand"] == (said.replace("1 run", "3 runs"),)

    @pytest.mark.slow
    @pytest.mark.parametrize("sampler", ["tpe", "curve-gp"])
    @pytest.mark.parametrize(("startup", "within"), [(1, False), (2, True), (5, True)])
    def test_a_budget_that_ends_within_the_start_up_is_said(
        self,
        sqlite_database: Any,
        make_study: Any,
        make_trainer: Any,
        me: Any,
        never: Any,
        sampler: str,
        startup: int,
        within: bool,
    ) -> None:
        arms = {"bayes": {"sampler": sampler, "startup": startup}, "random": {"sampler": "random"}}
        values = {"arms": arms, "repeats": 2, "trial": {"epochs": 3}, "budget": {"epochs": 6}}
        study = make_study(sqlite_database, **values)
        said = (
            f"spent its budget within its {startup} start-up trials in {{}}, so that its model was"
            " not asked there"
        )
        assert remarks_of(study) == {"bayes": (), "random": ()}  # nothing is spent yet
        ours = [search for search in study.arms if search.arm == "bayes"]
        work(study, ours[:1], make_trainer(), me, never)
        expected: tuple[str, ...] = (said.format("1 of 2 repeats"),) if within else ()
        assert remarks_of(study) == {"bayes": expected, "random": ()}
        work(study, study.arms, make_trainer(), me, never)
        expected = (said.format("all 2 repeats"),) if within else ()
        assert remarks_of(study) == {"bayes": expected, "random": ()}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("devices", "said"),
        [
            ({"bayes": ("cpu",), "hand": ("cpu",)}, {}),
            ({"bayes": ("cuda:0",), "hand": ("cuda:1",)}, {}),  # two of one kind
            ({"bayes": ("cpu",), "hand": ("cuda:0",)}, {"bayes": "cpu", "hand": "cuda"}),
            (
                {"bayes": ("cuda:0", "cpu"), "hand": ("cpu", "cpu")},
                {"bayes": "cpu and cuda", "hand": "cpu"},
            ),
            ({"bayes": ("cpu",), "hand": ()}, {}),  # one has not begun
        ],
    )
    def test_devices_are_named_where_the_arms_differ(
        self,
        sqlite_database: Any,
        make_study: Any,
        make_trainer: Any,
        me: Any,
        never: Any,
        devices: dict[str, tuple[str, ...]],
        said: dict[str, str],
    ) -> None:
        study = make_study(sqlite_database, arms=TWO, repeats=2)
        for search in study.arms:
            for device in devices[search.arm][search.repeat : search.repeat + 1]:
                work(study, [search], make_trainer(), replace(me, device=device), never)
        assert remarks_of(study) == {
            arm: (f"searched on {said[arm]}",) if arm in said else () for arm in TWO
        }

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("places", "said"),
        [
            (({"torch": "2.9", "threads": "1"}, {"torch": "2.9", "threads": "1"}), {}),
            (({"torch": "2.9", "threads": "1"}, {"torch": "2.9", "threads": "2"}), {}),
            (
                ({"torch": "2.9", "device": "cpu"}, {"torch": "2.10", "device": "cpu"}),
                {"bayes": "torch 2.9", "hand": "torch 2.10"},
            ),
            (
                ({"torch": "2.9", "device": "cpu"}, {"torch": "2.10", "device": "cuda"}),
                {"bayes": "device cpu, torch 2.9", "hand": "device cuda, torch 2.10"},
            ),
            (
                ({"torch": "2.9"}, {"torch": "2.9", "driver": "570"}),
                {"bayes": "driver unknown", "hand": "driver 570"},
            ),
        ],
    )
    def test_environments_of_full_training_are_named_where_they_differ(
        self,
        sqlite_database: Any,
        make_study: Any,
        make_trainer: Any,
        me: Any,
        never: Any,
        places: tuple[dict[str, str], ...],
        said: dict[str, str],
    ) -> None:
        study = make_study(sqlite_database, arms=TWO, promote={"top": 1, "seeds": 1, "epochs": 2})
        work(study, study.arms, make_trainer(), me, never)
        assert remarks_of(study) == {"bayes": (), "hand": ()}  # nothing is trained in full yet
        assert enqueue_full(study) == 2  # the reference's pick goes first
        work(study, [study.full], Travelling(places=iter(places)), me, never)
        assert remarks_of(study) == {
            arm: (f"had its choices trained with {said[arm]}",) if arm in said else ()
            for arm in TWO
        }

    def test_a_comparison_says_it_in_whole_sentences(
        self, sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        study = make_study(sqlite_database, arms=TWO)
        bayes, hand = study.arms
        work(study, [bayes], make_trainer(), replace(me, device="cuda:0"), never)
        work(study, [hand], make_trainer(), me, never)
        (pair,) = compare(read_results(Snapshot.of(study))).pairs
        assert pair.notes[-2:] == (
            "bayes (hand tuning) searched on cuda.",
            "hand (hand tuning) searched on cpu.",
        )
