"""What can go wrong in searching, as one small tree.

* SearchError: exit code 1
    * UserError: bad input, exit code 2; the message says what is wrong and how to fix it
        * SpecError: the study file
        * StorageError: the database cannot be used as it is, or holds something else
        * StudyError: no such study, or one that does not match
        * ArtifactError: the artifact store cannot be used, or refuses
    * LeaseLost: this worker no longer owns its trial and must write nothing more
    * StorageOutage: the database, or a lock in it, was not to be had in the time that we may wait
    * ArtifactOutage: the same of the artifact store
    * TrainingFailed: one trial after another failed here
"""

from __future__ import annotations


class SearchError(Exception):
    """Base of every error that ``search`` raises on purpose."""


class UserError(SearchError):
    """Bad input: one line that names the thing and the fix."""


class SpecError(UserError):
    """The study file is not valid."""


class StorageError(UserError):
    """The storage URL is wrong, or what is behind it is not ours."""


class StudyError(UserError):
    """There is no such study, or it does not match what is asked."""


class ArtifactError(UserError):
    """The artifact store's URL is wrong, or what is behind it refuses."""


class LeaseLost(SearchError):
    """Another worker owns this trial now; leave quietly and write nothing."""


class StorageOutage(SearchError):
    """The database, or a lock in it, was not to be had in the allowed time."""


class ArtifactOutage(SearchError):
    """The artifact store could not be reached for longer than the allowed time."""


class TrainingFailed(SearchError):
    """One trial after another failed on this worker: something is wrong with it."""
