"""What was asked: the study file and the search space that it describes."""
