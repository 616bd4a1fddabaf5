"""The models: their names (``registry``), how they are built, and where their weights come from."""
