"""Policies: each answers what an arm trains next, from the stored history and a seed alone."""
