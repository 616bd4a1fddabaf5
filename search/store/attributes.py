"""The names of the attributes that we store with Optuna's trials and studies."""

from __future__ import annotations

ENTERED = "tuneoff/entered"  # user attribute: when somebody entered this configuration, UTC


# User attributes of promoted trials.
CHANGES = "tuneoff/recipe changes"  # fields of the short trial's recipe that differ
SEED = "tuneoff/seed"  # [study, trial, replica]


REPLICA = "tuneoff/replica"  # user attribute of full training: which seed of its configuration
ENSEMBLE = "tuneoff/ensemble"  # user attribute of NAME/ensemble


FAILURE = "tuneoff/failure"  # user attribute: why a trial was told FAIL
UNTIL = "tuneoff/until epoch"  # system attribute: where the first attempt is to stop


MEMBER = "tuneoff/member"  # user attribute: index in [ensemble] members


# User attributes of trials.
DIVERGED = "tuneoff/diverged epoch"
TEST_ERROR = "tuneoff/test error"
ENVIRONMENT = "tuneoff/environment"
RECIPE = "tuneoff/recipe"
ACCUMULATION = "tuneoff/accumulation"


LISTED = "tuneoff/fixed configuration"  # user attribute: index in the list
NOTE = "tuneoff/note"  # user attribute: what somebody wrote beside a configuration
CHOSEN_BY = "tuneoff/chosen by"  # user attribute: how curve-gp chose a configuration, one of these
START = "start"  # one of those to begin with
MODEL = "curve model"  # the best by the model, given all runs
FULL_RUNS_ONLY = "given full runs only"  # the best by the model, given full runs only
QUASI_RANDOM = "quasi-random"  # a point of the Sobol sequence
