"""What each arm is and in what it differed from the others, read from the file and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tuneoff.messages import counted
from tuneoff.search.results.numbers import all_of
from tuneoff.search.results.records import ArmFacts
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.personas import PERSONAS
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.store.attributes import ENTERED, ENVIRONMENT
from tuneoff.search.study.evidence import finished_full
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Search

_LAST_BITS_ONLY: Final = ("threads",)  # of an environment: no cause of a difference worth a remark


def arm_facts(now: Snapshot) -> dict[str, ArmFacts]:
    """By arm, in the study file's order."""
    arms = now.study.spec.arms
    devices, places = _unlike(_devices(now)), _unlike(_environments(now))
    return {
        name: ArmFacts(
            description=description_of(arm),
            independent=arm.method is not None and not arm.learns,
            remarks=(
                *_of_file(now, arm),
                *_entered(now, name),
                *_start_up(now, name, arm),
                *(f"searched on {found}" for found in devices.get(name, ())),
                *(f"had its choices trained with {found}" for found in places.get(name, ())),
            ),
        )
        for name, arm in arms.items()
    }


def description_of(arm: ArmSpec) -> str:
    """What an arm does, in words: "random search"; empty for a sampler that is not ours."""
    if arm.persona is not None:  # a list that a later version has taken out is still a list
        return PERSONAS[arm.persona].title if arm.persona in PERSONAS else "hand tuning"
    if arm.method is None:
        return "hand tuning"
    return getattr(SAMPLERS.entry(arm.method), "title", "")


def _of_file(now: Snapshot, arm: ArmSpec) -> Iterator[str]:
    spec = now.study.spec
    if arm.start_from is not None:
        yield f"begins with the settings of {arm.start_from}, at its own cost"
    if arm.prior_from is not None:
        yield f"was told the settings of {arm.prior_from}, around which it expects the best"
    if arm.persona is not None and arm.persona in PERSONAS:
        written = PERSONAS[arm.persona].written
        yield f'runs the list "{arm.persona}", written on {written}: one person\'s, a sample of one'
    if spec.budget.epochs is None:
        return  # nobody knows before how many runs the time is enough for
    paid = spec.budget.epochs // spec.trial.epochs
    if arm.configs is not None and paid < len(arm.configs):
        listed = counted(len(arm.configs), "configuration")
        yield f"lists {listed}, of which the budget pays for the first {paid}"


def _entered(now: Snapshot, arm: str) -> Iterator[str]:
    entered = [
        when
        for search in now.study.arms
        if search.arm == arm
        for trial in now.trials(search)
        if (when := ENTERED.get(trial)) is not None
    ]
    if entered:
        late = sum(now.revealed is not None and when > now.revealed for when in entered)
        seen = f", {late} of them after the other arms' results had been seen" if late else ""
        runs = counted(len(entered), "run")
        yield f"has {runs} that people entered while the study went on{seen}"


def _start_up(now: Snapshot, name: str, arm: ArmSpec) -> Iterator[str]:
    """Where the budget ended before a sampler that has a model could ask it."""
    if arm.method not in SAMPLERS.names or not SAMPLERS.entry(arm.method).learns:
        return  # a sampler that is not ours may not be installed where results are read
    searches = [search for search in now.study.arms if search.arm == name]
    startup = int(getattr(searches[0].policy, "startup", 0))  # a policy that has some says so
    within = [
        search
        for search in searches
        if _is_spent(now, search) and len(now.trials(search)) <= startup
    ]
    if within:
        where = all_of(len(searches), "repeat")
        if len(within) < len(searches):
            where = f"{len(within)} of {counted(len(searches), 'repeat')}"
        yield (
            f"spent its budget within its {counted(startup, 'start-up trial')} in {where}, so that"
            " its model was not asked there"
        )


def _is_spent(now: Snapshot, search: Search) -> bool:
    """True if the budget does not pay for another run."""
    state = now.state(search)
    if search.budget is None:
        return state.is_out_of_time(search.seconds)
    epochs: int = now.study.spec.trial.epochs
    return state.spent + epochs > search.budget


def _devices(now: Snapshot) -> dict[str, str]:
    """By arm, the kinds of device on which its attempts ran."""
    found: dict[str, set[str]] = {}
    for search in now.study.arms:
        for attempts in now.state(search).attempts.values():
            kinds = (attempt.device.partition(":")[0] for attempt in attempts)
            found.setdefault(search.arm, set()).update(filter(None, kinds))
    return {arm: " and ".join(sorted(kinds)) for arm, kinds in found.items() if kinds}


def _environments(now: Snapshot) -> dict[str, str]:
    """By arm, what differs between the environments in which picks were trained in full."""
    full = finished_full(now)
    by_arm: dict[str, list[Mapping[str, str]]] = {}
    for search in now.study.arms:
        pick = recommend(now.trials(search))
        trained = full.get(key_of(pick.params), ()) if pick is not None else ()
        found = [ENVIRONMENT.of(trial) for trial in trained if ENVIRONMENT.is_set(trial)]
        by_arm.setdefault(search.arm, []).extend(found)
    every = [place for places in by_arm.values() for place in places]
    names = sorted({name for place in every for name in place} - set(_LAST_BITS_ONLY))
    differ = [name for name in names if len({place.get(name) for place in every}) > 1]

    def described(place: Mapping[str, str]) -> str:
        return ", ".join(f"{name} {place.get(name, 'unknown')}" for name in differ)

    return {
        arm: " and ".join(sorted(set(map(described, places))))
        for arm, places in by_arm.items()
        if places and differ
    }


def _unlike(found: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What was found, if it is not the same of all arms."""
    alike = len(set(found.values())) < 2
    return {} if alike else {arm: (text,) for arm, text in found.items()}
