"""A study as it stands: its searches, their state, and which configurations are the best."""
