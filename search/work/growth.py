"""Repeats and seeds are added to a study until a judge says that its arms are decided."""

from __future__ import annotations

import logging
import math

from tuneoff.search.store.attributes import ENDED, StoredEnd
from tuneoff.search.study.judgement import Judge
from tuneoff.search.study.opening import open_repeats
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.work.crew import Crew
from tuneoff.search.work.done import is_searched
from tuneoff.search.work.promote import enqueue_seeds

log = logging.getLogger(__name__)


def grow(study: Study, judge: Judge, me: str) -> bool:
    """Add what the judge asks for; True if there is more to run.

    To be called when every trial of every open repeat, and of full training, seems to be finished.
    It may be cut off anywhere and done again, and by several workers at once: what is added is a
    function of what is stored, and seeds come first, so that no repeat is opened without them.

    Args:
        me: the name of the worker that asks.
    """
    now = Snapshot.of(study)
    if not is_searched(now.study):
        return True  # others have opened repeats meanwhile
    said = judge(now)
    if said.ended is not None:
        end = StoredEnd(said.ended, now.study.repeats)
        if ENDED.get(study.optuna_study(study.full)) != end:
            study.optuna_study(study.full).set_user_attr(*ENDED.item(end))
            log.info("%s: %s", study.name, said.ended)
        return False
    enqueue_seeds(study, said.trainings)
    # Where workers outnumber the arms, one repeat would leave some of them idle.
    workers = 1 + len(Crew.of(now.study, me).others)
    wanted = min(said.most, now.study.repeats + math.ceil(workers / len(study.spec.arms)))
    grown = open_repeats(now.study, wanted)
    log.info("%s: not decided yet; %d repeats are open", study.name, grown.repeats)
    return True
