"""The command line as a whole: what it imports, what its help says, how it ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tuneoff.search.cli import options
from tuneoff.search.cli.console import console
from tuneoff.search.cli.main import COMMANDS, cli, main
from tuneoff.search.errors import UserError
from tuneoff.search.launch.launcher import Launcher, LaunchRequest
from tuneoff.search.launch.registry import LAUNCHERS
from tuneoff.search.launch.slurm import job_command
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study

LEAVES = [*(name for name in COMMANDS if name != "data"), "data prepare", "data info"]


def command(words: str) -> click.Command:
    """The command of these words."""
    found: click.Command | None = cli
    for word in words.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


class TestHelp:
    """What ``--help`` says."""

    @pytest.mark.parametrize("words", LEAVES)
    def test_each_command_shows_an_example(self, words: str) -> None:
        assert f"  tuneoff {words} " in (command(words).help or "") + " "

    @pytest.mark.parametrize("words", LEAVES)
    def test_each_option_is_explained(self, words: str) -> None:
        found = [p for p in command(words).params if isinstance(p, click.Option) and not p.hidden]
        assert [option.name for option in found if not option.help] == []

    @pytest.mark.parametrize("words", COMMANDS)
    def test_the_list_of_commands_shows_each_summary_whole(self, words: str) -> None:
        assert not command(words).get_short_help_str(65).endswith("...")


class TestLaunchers:
    """The registry of launchers is all that the command line knows of them."""

    def test_each_is_offered(self) -> None:
        (choice,) = (p for p in command("launch").params if p.name == "place")
        assert isinstance(choice.type, click.Choice)
        assert tuple(choice.type.choices) == LAUNCHERS.names
        assert isinstance(choice, click.Option)
        assert all(LAUNCHERS.about(name) in (choice.help or "") for name in LAUNCHERS)

    def test_each_has_its_options_and_each_option_says_whose_it_is(self) -> None:
        given = {p.name: p for p in command("launch").params if isinstance(p, click.Option)}
        for name in LAUNCHERS:
            launcher = LAUNCHERS.load(name)
            assert isinstance(launcher, Launcher)
            for option in launcher.options:
                assert name in (given[option.key].help or "").partition(":")[0]

    def test_no_two_have_options_of_the_same_name_that_differ(self) -> None:
        found = {option for name in LAUNCHERS for option in LAUNCHERS.load(name).options}
        assert len({option.key for option in found}) == len(found)

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--time", "9"], "--time goes with --on slurm, not with --on here; leave it out"),
            (["--cpus", "2"], "--cpus goes with --on ray or --on slurm, not with --on here"),
        ],
    )
    def test_an_option_of_another_launcher_is_refused(self, words: list[str], line: str) -> None:
        with (
            command("launch").make_context("launch", ["digits", *words]),
            pytest.raises(UserError, match=line),
        ):
            options.check_launcher("here")

    def test_a_job_of_slurm_asks_for_what_the_launcher_takes(self, tmp_path: Path) -> None:
        request = LaunchRequest(
            study="digits",
            work=tmp_path,
            folder=tmp_path / "digits-1",
            storage="postgresql://me:open-sesame@db/x",
            database="postgresql://me:***@db/x",
            one_machine=False,
            shared=True,
            promote=True,
            workers=8,
            per_gpu=2,
            options={"cpus": 3, "gpus_per_node": 4},
        )
        words = [*job_command(request), "--job", "7_1"]
        assert words[0] == "launch"
        with command("launch").make_context("launch", words[1:]) as context:
            options.check_launcher("slurm")
        assert {
            "name": "digits",
            "place": "slurm",
            "work": tmp_path,
            "promote": True,
            "per_gpu": 2,
            "cpus": 3,
            "gpus_per_node": 4,
            "job": "7_1",
        }.items() <= context.params.items()


def test_a_file_that_ends_too_early_is_no_silent_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """click takes EOFError for Ctrl-D, and says nothing."""

    def read(*_: object, **__: object) -> None:
        raise EOFError("No data left in file")

    monkeypatch.setattr(command("status"), "callback", read)
    with pytest.raises(Exception, match="No data left in file"):
        main(["status", "digits"])


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_a_terminal_cannot_show_is_spelt_out(
    errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python opens streams with "surrogateescape" in the C locale."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, "ascii", errors)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(command("status"), "callback", lambda **_: print("2.44 \xb1 0.25"))
    with pytest.raises(SystemExit) as ended:
        main(["status", "digits"])
    assert ended.value.code == 0
    assert written.getvalue() == b"2.44 \\xb1 0.25\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "no more is to be had"),
        (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
        (
            ImportError("libtorch.so: failed to map segment from shared object"),
            "libtorch.so: failed to map segment from shared object",
        ),
    ],
)
def test_too_little_memory_is_said_in_a_line(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill(**_: object) -> None:
        raise error

    monkeypatch.setattr(command("status"), "callback", fill)
    with pytest.raises(SystemExit) as ended:
        main(["status", "digits"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"Error: there is not enough memory ({said}); end other programs, or raise the limit of "
        "this one (ulimit -v, or the container's)\n"
    )


def closed_pipe() -> int:
    """A descriptor that can be written to, but nobody reads what is written."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


class TestNobodyReads:
    """``tuneoff ... | head -1``: the exit code is that of the signal, and nothing is said."""

    @pytest.mark.slow
    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    @pytest.mark.parametrize(
        "words",
        [
            "--help",
            "status --help",
            "status NAME",
            "status NAME --json",
            "compare NAME",
            "list",
            "status",
            "nosuch",
        ],
    )
    def test_code(
        self,
        stream: str,
        words: str,
        sqlite_database: Database,
        make_study: Callable[..., Study],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        study = make_study(sqlite_database)
        monkeypatch.setenv("TUNEOFF_STORAGE", str(sqlite_database))
        monkeypatch.setattr(console, "quiet", False)  # and so it is again after the test
        fails = words in ("status", "nosuch")
        with open(closed_pipe(), "w") as file:
            monkeypatch.setattr(sys, stream, file)
            with pytest.raises(SystemExit) as ended:
                main(words.replace("NAME", study.name).split())
            says_something = fails == (stream == "stderr")
            assert ended.value.code == (128 + signal.SIGPIPE if says_something else 2 * fails)

    @pytest.mark.slow
    def test_process(self, tmp_path: Path) -> None:
        output = closed_pipe()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tuneoff", "--help"],
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
        os.close(output)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["creat", "x.toml"], "No such command 'creat'. Did you mean 'create'?"),
        (["xyzzy"], "No such command 'xyzzy'."),
        (["predict", "digits"], "digits is no image, folder or zip file; write NAME IMAGES"),
        (
            ["--storage", "sqlite:///x.db", "status"],
            "--storage is an option of a command; put it after the command, as in "
            "`tuneoff status --storage URL` (see",
        ),
        (["-v", "--json", "compare", "x"], "--json is an option of a command; put it after the"),
        (["--work", "x"], "--work is an option of a command; put it after the command, as in `tun"),
        (
            ["data", "--json", "info", "digits"],
            "--json is an option of a command; put it after the command, as in "
            "`tuneoff data info --json` (see",
        ),
        (["--nothing", "status"], "No such option '--nothing'."),
    ],
)
def test_a_word_in_the_wrong_place(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"Error: {said}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["status", "small\udcff"],
        ["compare", "NAME", "--reference", "\udcff"],
        ["try", "NAME", "--lr", "0.1", "--note", "caf\udce9"],
        ["create", "STUDY", "--set", 'arms.hand.configs=[{ lr = 0.1, note = "caf\udce9" }]'],
        ["create", "STUDY", "--set", 'data.path="caf\udce9"'],
    ],
)
def test_a_word_that_is_not_utf_8(
    words: list[str],
    sqlite_database: Database,
    make_study: Callable[..., Study],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TUNEOFF_STORAGE", str(sqlite_database))
    monkeypatch.setenv("TUNEOFF_WORK", str(tmp_path / "work"))
    name = make_study(sqlite_database, arms={"hand": {"configs": [{"lr": 0.1}]}}).name
    file = tmp_path / "study.toml"
    file.write_text(
        'name = "new"\ndata = { name = "digits" }\ntrial = { model = "proxy", epochs = 3 }\n'
        "space = { lr = { low = 1e-3, high = 1.0, log = true } }\nbudget = { epochs = 9 }\n"
        "arms = { hand = { configs = [{ lr = 0.1 }] } }\n"
    )
    given = [{"NAME": name, "STUDY": str(file)}.get(word, word) for word in words]
    with pytest.raises(SystemExit) as ended:
        main(given)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert "\\udc" in line
