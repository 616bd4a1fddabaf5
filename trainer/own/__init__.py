"""Training that is not ours: a loop or a command of the user's."""
