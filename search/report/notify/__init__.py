"""One message to a webhook when a study is decided, stalls or fails."""
