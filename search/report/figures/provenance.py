"""What the results rest on, and how to repeat them: the report's last section."""

from __future__ import annotations

import shlex

from tuneoff.messages import printable
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.tables import Table


def provenance_panels(data: ReportData) -> tuple[Panels, ...]:
    """Versions, seeds, data and settings, with the commands that repeat the study."""
    found = data.provenance
    if found is None:
        return ()
    name = shlex.quote(data.results.name)
    again = (
        ("Run it again, with these settings as study.toml", "tuneoff run study.toml"),
        ("Train the best configuration again", f"tuneoff export {name} -o best.toml"),
    )
    return (
        Panels(
            name="provenance",
            title="What this rests on, and how to repeat it",
            caption="Below the table: the settings as they are stored. On a CPU of the same kind,"
            " with the same versions and threads, the same study file gives the same trials and"
            " errors; elsewhere they differ in the last digits, which can lead a search that learns"
            " to other trials.",
            figures=(),
            table=Table(
                heading="Reproducibility record",
                header=("What", "Value"),
                rows=(*found.facts, *again),
                text_columns=(1,),
            ),
            # What would turn or hide text is written as TOML's own escape for it.
            code="\n".join(map(printable, found.study_file.strip().split("\n"))),
        ),
    )
