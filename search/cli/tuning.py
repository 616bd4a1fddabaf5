"""The command for tuning by hand, live: a person tries settings and sees their own curves only."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from tuneoff import references
from tuneoff.messages import counted
from tuneoff.search.cli import options
from tuneoff.search.errors import UserError

if TYPE_CHECKING:
    from tuneoff.search.study.study import Study
    from tuneoff.search.work.signals import Stop
    from tuneoff.search.work.tuning import Try, Tuning

HELP: Final = """\
NAME=VALUE ...      try these settings; what you leave out keeps its last value
... note: TEXT      and why you chose them, at the end of that line
list                your tries so far, and those of the study file
best                the one with the lowest error
space               what may be tried
reveal              see what the other arms found; later tries count as not blind
quit                leave; the same command goes on from here"""


@click.command()
@options.study_command
@options.device_option
@options.allow_option
@click.option("--arm", help="The hand-tuned arm. [default: the only one]")
def tune(study: Study, device: str, threads: int | None, arm: str | None) -> int:
    """Tune by hand, live, against the machine and on the same budget.

    You enter settings and see the learning curve of each while it trains. What the other arms find
    stays hidden until your budget is spent, so that it does not guide you. Each try is run in every
    repeat; you see the first repeat's curve, and other repeats are run by `tuneoff launch`. Input
    may also come from a file or a pipe, a line for each try.

    \b
    Example:
      tuneoff tune digits
    """
    from tuneoff.search.cli.storage import open_storage
    from tuneoff.search.cli.trainers import make_trainer, threads_of
    from tuneoff.search.store.attempts import Worker
    from tuneoff.search.study.folder import check_folder
    from tuneoff.search.study.opening import check_artifacts, check_data, open_study
    from tuneoff.search.work.signals import Stop
    from tuneoff.search.work.tuning import Tuning, run_try

    references.require_allowed(study.spec.references())
    tuning = Tuning.of(study, arm)
    _refuse_if_stopped(study)
    url = study.database.url.render_as_string(hide_password=False)
    helper = open_study(open_storage(url), study.name, study.work)
    with Stop() as stop:
        check_artifacts(study, stop)
        study.ledger.step(check_folder, study)
        recipe = study.spec.recipe()
        trainer = make_trainer(
            recipe,
            study.work,
            device,
            threads_of(study, device, threads),
            hung_seconds=study.spec.workers.epoch_seconds,
        )
        check_data(study, trainer.check(recipe))
        me = Worker.here(trainer.describe()["device"])

        def run(number: int) -> Try:
            return run_try(tuning, number, helper, trainer, me, stop, _show(tuning), time.sleep)

        _Session(tuning, run, stop).hold()
    return 128 + stop.signal if stop.signal else 0


class _Session:
    """Lines in, lines out, until the budget is spent or the person leaves."""

    def __init__(self, tuning: Tuning, run: Callable[[int], Try], stop: Stop) -> None:
        """
        Args:
            run: trains a try, by its number, to its end or until the person leaves.
        """
        self._tuning, self._run, self._stop = tuning, run, stop
        self._last: dict[str, Any] | None = None

    def hold(self) -> None:
        """Hold the session."""
        study = self._tuning.study
        _say(f"{study.name}: you tune the arm {self._tuning.shown.arm}. `help` lists the commands.")
        self._space()
        if listed := study.spec.arms[self._tuning.shown.arm].configs:
            _say(
                f"Your tries go before the {len(listed)} settings of the study file, which take"
                " what you leave of the budget."
            )
        for one in self._tuning.tries():
            if one.by_hand:
                self._last = dict(one.params)
                if not one.finished and not self._stop():
                    _say(f"Going on with #{one.number}: {_settings(one.params)}")
                    self._run_shown(one.number)
        while not self._stop():
            left, epochs = self._tuning.left(), study.spec.trial.epochs
            about = "" if study.spec.budget.time is None else "about "
            if left < epochs:
                _say("Your budget is spent.")
                self._reveal()
                return
            tries = counted(left // epochs, "try", "tries")
            line = _read(f"{about}{counted(left, 'epoch')} left, {tries}> ", self._stop)
            if self._stop():
                break
            if line is None or line in ("quit", "exit", "q"):
                _say("Bye. The same command goes on from here.")
                return
            if line:
                self._obey(line)
        _say("Stopped. The same command goes on from here.")

    def _obey(self, line: str) -> None:
        commands = {
            "help": lambda: _say(HELP),
            "?": lambda: _say(HELP),
            "list": self._list,
            "best": self._best,
            "space": self._space,
            "reveal": self._ask_to_reveal,
        }
        if line in commands:
            commands[line]()
            return
        from tuneoff.search.work.tuning import parse_try

        try:
            params, note = parse_try(self._tuning, line, self._last)
            number = self._tuning.enter(params, note)
        except UserError as error:
            _say(str(error))
            return
        self._last = params
        _say(f"#{number}: {_settings(params)}")
        self._run_shown(number)

    def _run_shown(self, number: int) -> None:
        found = self._run(number)
        if not found.finished:
            _say(f"#{number} is paused after epoch {max(found.errors, default=0)}.")
            _refuse_if_stopped(self._tuning.study)
        elif found.error is None:
            _say(f"#{number} failed; `tuneoff show {self._tuning.shown.name}#{number}` says why.")
        else:
            best = _lowest(self._tuning.tries())
            mine = " It is your best so far." if best and best.number == number else ""
            left = counted(self._tuning.left(), "epoch")
            _say(
                f"#{number} ends at {self._tuning.study.metric.text(found.error)}.{mine} {left}"
                " left."
            )

    def _list(self) -> None:
        tries, metric = self._tuning.tries(), self._tuning.study.metric
        for one in tries:
            error = "not trained yet" if one.error is None else metric.text(one.error)
            whose = "" if one.by_hand else " (study file)"
            note = f"  {one.note}" if one.note else ""
            _say(f"#{one.number}{whose}  {error}  {_settings(one.params)}{note}")
        if not tries:
            _say("No tries yet.")

    def _best(self) -> None:
        best = _lowest(self._tuning.tries())
        if best is None or best.error is None:
            _say("No try has finished yet.")
        else:
            _say(
                f"#{best.number}  {self._tuning.study.metric.text(best.error)} "
                f" {_settings(best.params)}"
            )

    def _space(self) -> None:
        for name, param in self._tuning.study.spec.space.items():
            if param.choices is not None:
                said = f"one of {', '.join(map(str, param.choices))}"
            else:
                log = ", logarithmic" if param.log else ""
                said = f"{param.low:g} to {param.high:g}{log}"
            _say(f"  {name}: {said}")

    def _ask_to_reveal(self) -> None:
        _say("What you try after this counts as not blind in the report. Reveal? yes or no")
        if _read("reveal> ", self._stop) in ("yes", "y"):
            self._reveal()

    def _reveal(self) -> None:
        from tuneoff.search.cli.summary import answer
        from tuneoff.search.results.compare import compare
        from tuneoff.search.results.read import read_results
        from tuneoff.search.study.snapshot import Snapshot

        study = self._tuning.study
        study.ledger.step(self._tuning.reveal)
        from tuneoff.search.cli.console import console

        console.print(answer(compare(read_results(Snapshot.of(study)))))
        _say(
            f"`tuneoff launch {study.name} --promote` runs what is left, `tuneoff report"
            f" {study.name}` shows all of it."
        )


def _refuse_if_stopped(study: Study) -> None:
    """Make sure that workers may work (UserError if `tuneoff stop` has stopped them)."""
    if study.ledger.step(study.is_draining):
        raise UserError(
            f"{study.name} was stopped by `tuneoff stop`, so that nothing is trained;"
            f" `tuneoff stop {study.name} --undo` takes it back"
        )


def _lowest(tries: list[Try]) -> Try | None:
    known = [one for one in tries if one.finished and one.error is not None]
    return min(known, key=lambda one: (one.error or 0.0, one.number), default=None)


def _show(tuning: Tuning) -> Callable[[Try], None]:
    """Prints a try's last epoch, with its curve so far."""
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.sparkline import ASCII, BLOCKS, sparkline

    epochs = tuning.study.spec.trial.epochs
    metric = tuning.study.metric
    levels = ASCII if console.options.ascii_only else BLOCKS

    def show(one: Try) -> None:
        if one.errors and one.error is not None:
            values = [metric.value(error) for error in one.errors.values()]
            drawn = sparkline(values, 30, levels)
            _say(f"  epoch {max(one.errors)} of {epochs}  {metric.text(one.error)}  {drawn}")

    return show


def _settings(params: Any) -> str:
    from tuneoff.search.results.numbers import parameters

    return parameters(params)


def _say(text: str) -> None:
    from tuneoff.search.cli.console import console

    for line in text.split("\n"):
        console.print(line, soft_wrap=True)


class _Leave(Exception):
    """A signal that came while a line was waited for."""


@contextmanager
def _heard_at_once(stop: Stop) -> Iterator[None]:
    """Python goes on waiting for a line after a signal whose handler only takes note of it."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        stop.signal = number
        raise _Leave

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read(prompt: str, stop: Stop) -> str | None:
    """The next line, without spaces at its ends; None at the end of the input, or to leave."""
    try:
        with _heard_at_once(stop):
            if not sys.stdin.isatty():
                line = sys.stdin.readline()
                return line.strip() if line else None
            import readline  # noqa: F401 - input() has a history and editing then

            return input(prompt).strip()
    except (EOFError, _Leave):
        return None
