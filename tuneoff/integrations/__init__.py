"""Callbacks for training libraries, which report to tuneoff; none is imported unless it is used."""
