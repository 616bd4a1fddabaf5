"""``python -m tuneoff`` is the command ``tuneoff``."""

from tuneoff.search.cli.main import main

main()
