"""Decide what to train next, where, and what was learnt; imported as ``tuneoff.search``."""
