"""Are the models of a finished ensemble still there?"""

from __future__ import annotations

from tuneoff.search.study.checkpoints import how_to_bring_back, is_gone
from tuneoff.search.study.selection import combined_members
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.errors import CheckpointError


def check_members(now: Snapshot) -> None:
    """Make sure that each model of the combined ensemble can be had on this machine.

    Raises:
        CheckpointError: one cannot; the line says how it comes back.
        ArtifactOutage, ArtifactError: the artifact store is away.
    """
    for trial in combined_members(now):
        member = TrialRef(now.study, now.study.ensemble, trial)
        if is_gone(member):
            raise CheckpointError(
                f"study {now.study.name} is complete, but {member.folder} has nothing of its "
                f"model; {how_to_bring_back(member)}"
            )
