"""Pure functions of arrays: estimates, intervals, tests and curves, each with its source."""
