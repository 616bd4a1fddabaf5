"""The command line: words in, one line out."""
