"""``python -m search`` is ``tuneoff``."""

from search.cli import main

main()
