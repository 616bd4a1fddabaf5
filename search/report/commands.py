"""Commands about a study as somebody can copy them out of its report, into any folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from tuneoff.search.store.defaults import DEFAULT_URL
from tuneoff.search.store.dialects import from_any_folder
from tuneoff.search.study.study import Study

DEFAULT_WORK = Path("tuneoff-work")


def storage_words(study: Study) -> str:
    """``--storage URL`` for a shell; empty for the default.

    Empty, too, where the URL holds a password: it is no report's business, and whoever knows it
    has it in ``TUNEOFF_STORAGE``.
    """
    url = study.database.url
    if url.password is not None or str(study.database) == DEFAULT_URL:
        return ""
    return f"--storage {shlex.quote(from_any_folder(url).render_as_string(hide_password=True))}"


def work_words(study: Study) -> str:
    """``--work DIR`` for a shell; empty for the default."""
    return "" if study.work == DEFAULT_WORK else f"--work {shlex.quote(str(study.work.absolute()))}"


def export_and_train(name: str, storage: str = "", work: str = "") -> str:
    """The command that writes a study's best configuration to a file, and trains it.

    Args:
        storage, work: what ``storage_words`` and ``work_words`` say.
    """
    export = " ".join(filter(None, ("tuneoff export", shlex.quote(name), storage, "-o best.toml")))
    return f"{export} && {' '.join(filter(None, ('tuneoff train best.toml', work)))}"
