"""Decide what to train next, where, and what was learnt."""

from importlib.metadata import version

__version__ = version("tuneoff")
