"""The command that makes a study file of another tool's: import."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tuneoff.search.errors import UserError


@click.command("import")
@click.argument("sweep_file", type=click.Path(path_type=Path))
@click.argument("name", required=False)
def import_(sweep_file: Path, name: str | None) -> None:
    """Make a study file of a W&B sweep: NAME.toml, in this folder.

    Parameters, their distributions, the metric and the command are taken over; a line says of
    everything else that it was not. NAME is the sweep file's own unless given. A file that is there
    is never overwritten.

    \b
    Example:
      tuneoff import sweep.yaml mine
    """
    import yaml

    from tuneoff.messages import first_line
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.starting import name_of_study, write_new
    from tuneoff.search.spec.draft import text_of
    from tuneoff.search.spec.sweep import draft_of

    study = name_of_study(name or re.sub(r"[^A-Za-z0-9._-]", "-", sweep_file.stem))
    try:
        sweep = yaml.safe_load(sweep_file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{sweep_file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{sweep_file}: is not valid YAML: {first_line(error)}") from None
    try:
        draft = draft_of(study, sweep, f"Made of the W&B sweep {sweep_file.name!a}.")
    except UserError as error:
        raise UserError(f"{sweep_file}: {error}") from None
    path = Path(f"{study}.toml")
    write_new(path, text_of(draft))
    for note in draft.notes:
        console.print(note, soft_wrap=True)
    console.print(f"wrote {path}. Look at it, and then: tuneoff check {path}", soft_wrap=True)
