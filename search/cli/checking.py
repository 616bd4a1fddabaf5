"""The command ``check``: a look at a study's training before a night is spent on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneoff import references
from tuneoff.messages import counted
from tuneoff.search.cli import options

if TYPE_CHECKING:
    from tuneoff.search.spec.file import StudySpec
    from tuneoff.search.work.soundness import Soundness

NOT_SOUND = 1


@click.command()
@options.study_argument
@options.set_option
@options.work_option
@options.device_option
def check(
    study_file: Path, changes: tuple[str, ...], work: Path, device: str, threads: int | None
) -> int:
    """Try a study's training: does it repeat, does it resume?

    Two epochs of the middle of the search space are trained twice with one seed; the second run is
    stopped after its first epoch, and goes on. Nothing is written to a database. The exit code is 0
    if the training is sound, and 1 if it is not.

    \b
    Example:
      tuneoff check studies/quickstart.toml
    """
    import tempfile
    import traceback

    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.terminal import print_notes
    from tuneoff.search.cli.trainers import make_check, make_trainer
    from tuneoff.search.policies.tried import try_references
    from tuneoff.search.results.numbers import parameters
    from tuneoff.search.spec.reading import preflight, read_study_file, settle_weights
    from tuneoff.search.work.soundness import examine, middle
    from tuneoff.trainer.errors import Diverged, OwnCodeError, TrainerError
    from tuneoff.trainer.own.command_job import CommandFailed

    file = read_study_file(study_file, changes)
    references.allow(file.spec.references())
    look = make_check(work)
    file = settle_weights(file, look)
    task = preflight(file, look)
    print_notes(console, task, try_references(file.spec, file.space))
    trainer = make_trainer(file.spec.recipe(), work, device, threads)
    with tempfile.TemporaryDirectory(prefix="tuneoff-check-") as folder:
        try:
            found = examine(file.spec, file.space, trainer, Path(folder))
        except Diverged as error:
            where = parameters(middle(file.space))
            console.print(
                f"Not sound: {error}, in the middle of the space ({where}); narrow [space].",
                soft_wrap=True,
            )
            return NOT_SOUND
        except CommandFailed as error:  # its log goes with the folder
            click.echo("\n".join(error.lines), err=True)
            raise OwnCodeError(error.brief) from error
        except TrainerError:
            raise
        except Exception as error:  # the user's own code may raise anything
            traceback.print_exc()
            said = str(error).strip().split("\n")[0]
            console.print(f"Not sound: training failed: {type(error).__name__}: {said}")
            return NOT_SOUND
    for line in lines(found, file.spec, task.sizes.get("train", 0)):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"Memory: {_memory()}.")
    console.print(_verdict(found))
    return 0 if found.is_sound else NOT_SOUND


def lines(found: Soundness, spec: StudySpec, train_images: int = 0) -> Iterator[str]:
    """What was found, a line each.

    Args:
        train_images: that the study has; 0 if that is not known.
    """
    from tuneoff.search.results.numbers import parameters

    metric = spec.metric.metric()

    shown, name = metric.text, metric.on("validation")
    yield (
        f"Tried: {parameters(found.params)}; {name} {shown(found.whole[-1])} after "
        f"{counted(len(found.whole), 'epoch')}."
    )
    if not found.repeats:
        yield "Same seed twice: equal."
    else:
        yield (
            f"Same seed twice: not equal ({name} {shown(found.whole[0])} and "
            f"{shown(found.stopped[0])}); seed everything that is random, or expect noise between "
            "equal runs."
        )
    if found.resumed is None:
        yield "Stopped and resumed: not tried, as a run has one epoch."
    elif not found.resumed:
        yield (
            "Stopped and resumed: it began again, as nothing was kept of its first epoch; what is "
            "paused or cut off is trained, and paid for, again. Save a state to go on from."
        )
    elif not found.goes_on:
        yield "Stopped and resumed: equal to the run that was not stopped."
    else:
        yield (
            f"Stopped and resumed: not equal ({name} {shown(found.whole[-1])} without a stop, "
            f"{shown(found.stopped[-1])} with one); keep the optimiser's state and the random "
            "generators' with the model."
        )
    first = _seconds(found.seconds[0])
    yield f"An epoch takes {_seconds(found.epoch_seconds)}, the first one {first}."
    yield from _price(found, spec, train_images)


def _price(found: Soundness, spec: StudySpec, train_images: int) -> Iterator[str]:
    """What the study takes, and what else must be known of that."""
    from tuneoff.search.results.numbers import duration
    from tuneoff.search.work.soundness import price

    parts = price(spec, found.epoch_seconds, train_images)
    said = [
        f"{part.name} {duration(part.seconds)}"
        + ("" if part.epochs is None else f" for {counted(part.epochs, 'epoch')}")
        for part in parts
    ]
    yield (
        f"The study takes about {duration(sum(part.seconds for part in parts))} on one such worker"
        f" ({', '.join(said)}); N workers take about one Nth of it."
    )
    if spec.compare.until == "decided":
        yield "That is for the repeats of the file; it adds others until the arms are decided."
    images = spec.trial.images
    if not spec.is_own and 0 < images < train_images:
        yield (
            f"A search run has {images:,} of {train_images:,} training images; trainings on more of"
            " them are taken to last longer by as much."
        )
    run, time = spec.trial.epochs * found.epoch_seconds, spec.budget.time
    if time is not None and run > time / 2:
        fit = "no run ends within it" if run > time else "hardly more than one run ends within it"
        yield (
            f"A full search run takes about {duration(run)}, and the budget is {duration(time)} for"
            f" each arm and repeat: {fit}; raise the budget, or lower trial.epochs."
        )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def _memory() -> str:
    """The most that this process, and the largest that it started, had of memory."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, child = (resource.getrusage(one).ru_maxrss * unit / 2**20 for one in who)
    said = f"{own:,.0f} MiB of this process"
    if child > own:
        said += f", {child:,.0f} MiB of the largest that it started"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        said += f", {torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB of the GPU"
    return said


def _verdict(found: Soundness) -> str:
    if found.is_sound and found.resumed is not False:
        return "Sound: runs repeat, and go on where they were stopped."
    if found.is_sound:
        return "Sound: runs repeat, but begin again where they were stopped."
    if not found.is_finite:
        return "Not sound: a value is not finite."
    return "Not sound: see above. A search works, but its runs are not what they seem."
