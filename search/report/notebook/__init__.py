"""A study in a notebook: tidy tables, and figures to work with."""
