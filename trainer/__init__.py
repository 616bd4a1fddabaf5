"""Turn a recipe and hyperparameters into a trained model; imported as ``tuneoff.trainer``."""
