"""The data sets, one file each: which images they have, with which labels. See ``base``."""
