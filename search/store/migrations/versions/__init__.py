"""The revisions of our tables, oldest first by name."""
