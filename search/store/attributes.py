"""The names of the attributes that we store with Optuna's trials and studies."""

from __future__ import annotations

ENTERED = "entered"  # user attribute: when somebody entered this configuration, UTC


# User attributes of promoted trials.
CHANGES = "recipe changes"  # fields of the short trial's recipe that differ
SEED = "seed"  # [study, trial, replica]


REPLICA = "replica"  # user attribute of full training: which seed of its configuration
ENSEMBLE = "ensemble"  # user attribute of NAME/ensemble


FAILURE = "failure"  # user attribute: why a trial was told FAIL
UNTIL = "tuneoff:until_epoch"  # system attribute: where the first attempt is to stop


MEMBER = "member"  # user attribute: index in [ensemble] members


# User attributes of trials.
DIVERGED = "diverged in epoch"
TEST_ERROR = "test error"
ENVIRONMENT = "environment"
RECIPE = "recipe"
ACCUMULATION = "accumulation for want of memory"


LISTED = "listed"  # user attribute: index in the list
