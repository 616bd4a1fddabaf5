"""One worker: claim a trial, run it, tell how it ended, and promote what was found."""
