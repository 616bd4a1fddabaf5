"""Turn a recipe and hyperparameters into a trained model; knows nothing of searching."""
