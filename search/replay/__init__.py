"""Whole comparisons on a surrogate of training, through the code that real ones take."""
